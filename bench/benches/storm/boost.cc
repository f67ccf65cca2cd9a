// One worker of the storm on Boost.Interprocess: a map in a managed segment under its mutex, as its
// documentation shows it. Arguments: the segment's name, the file of counters, the worker's number.
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>

namespace ip = boost::interprocess;
using Manager = ip::managed_shared_memory::segment_manager;
using Text = ip::basic_string<char, std::char_traits<char>, ip::allocator<char, Manager>>;
using Pair = std::pair<const int, Text>;
using Map = ip::map<int, Text, std::less<int>, ip::allocator<Pair, Manager>>;

int main(int, char **argv) {
    const int worker = atoi(argv[3]);
    int fd = open(argv[2], O_RDWR);
    auto *words = static_cast<volatile uint64_t *>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    ip::managed_shared_memory segment(ip::open_or_create, argv[1], 32 << 20);
    auto *mutex = segment.find_or_construct<ip::interprocess_mutex>("mutex")();
    auto *map = segment.find_or_construct<Map>("map")(std::less<int>(), segment.get_segment_manager());
    srand(getpid());
    for (uint64_t number = words[worker * 2] + 1;; number++) {
        const int other = rand() % 8, bytes = 8 + rand() % 600;
        {
            ip::scoped_lock<ip::interprocess_mutex> lock(*mutex);
            auto found = map->find(worker);
            uint64_t last = 0;
            if (found != map->end()) memcpy(&last, found->second.data(), 8);
            if (last < words[worker * 2]) return 2;  // acknowledged, and gone
            Text value(bytes, char(number), segment.get_segment_manager());
            memcpy(&value[0], &number, 8);
            if (found == map->end()) map->insert(Pair(worker, value));
            else found->second = value;
        }
        words[worker * 2] = number;
        ip::scoped_lock<ip::interprocess_mutex> lock(*mutex);
        auto found = map->find(other);
        if (found != map->end())
            for (size_t at = 8; at < found->second.size(); at++)
                if (found->second[at] != found->second[0]) return 3;  // torn
        words[worker * 2 + 1]++;
    }
}
