// Boost.Interprocess as a shelf: an unordered map in a managed segment under a mutex of the segment,
// as its documentation shows it. A library, so that the bench can ask it for one key at a time.
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/unordered_map.hpp>
#include <array>
#include <cstring>

namespace ip = boost::interprocess;
using Manager = ip::managed_shared_memory::segment_manager;
using Value = ip::basic_string<char, std::char_traits<char>, ip::allocator<char, Manager>>;
using Key = std::array<char, 16>;
using Pair = std::pair<const Key, Value>;

struct Hash {
    size_t operator()(const Key &key) const {
        uint64_t words[2];
        memcpy(words, key.data(), sizeof words);
        auto product = (unsigned __int128)(words[0] ^ 0x9e3779b97f4a7c15) * (words[1] ^ 0xa0761d6478bd642f);
        return (uint64_t)(product >> 64) ^ (uint64_t)product;
    }
};

using Map = boost::unordered_map<Key, Value, Hash, std::equal_to<Key>, ip::allocator<Pair, Manager>>;

struct Shelf {
    ip::managed_shared_memory segment;
    ip::interprocess_mutex *mutex;
    Map *map;
};

// Makes the segment of this name, or comes to it.
extern "C" void *boost_open(const char *name, size_t bytes) {
    auto *shelf = new Shelf{ip::managed_shared_memory(ip::open_or_create, name, bytes), nullptr, nullptr};
    shelf->mutex = shelf->segment.find_or_construct<ip::interprocess_mutex>("mutex")();
    shelf->map = shelf->segment.find_or_construct<Map>("map")(
        16, Hash(), std::equal_to<Key>(), shelf->segment.get_segment_manager());
    return shelf;
}

// Copies a value out, and returns its length; that of none is -1.
extern "C" long boost_get(void *at, const char *key, char *value, size_t room) {
    auto *shelf = static_cast<Shelf *>(at);
    Key sought;
    memcpy(sought.data(), key, sought.size());
    ip::scoped_lock<ip::interprocess_mutex> lock(*shelf->mutex);
    auto found = shelf->map->find(sought);
    if (found == shelf->map->end() || found->second.size() > room) return -1;
    memcpy(value, found->second.data(), found->second.size());
    return (long)found->second.size();
}

extern "C" void boost_set(void *at, const char *key, const char *value, size_t bytes) {
    auto *shelf = static_cast<Shelf *>(at);
    Key sought;
    memcpy(sought.data(), key, sought.size());
    ip::scoped_lock<ip::interprocess_mutex> lock(*shelf->mutex);
    auto found = shelf->map->find(sought);
    if (found != shelf->map->end()) found->second.assign(value, bytes);
    else shelf->map->emplace(sought, Value(value, bytes, shelf->segment.get_segment_manager()));
}

extern "C" void boost_remove(const char *name) { ip::shared_memory_object::remove(name); }
