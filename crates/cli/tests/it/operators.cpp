// Every operator new and delete of C++, and what those that fail have to do: call the new handler,
// throw, or give null. Prints how many of the eleven that must fail did so rightly, and what the
// handlers counted.
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

struct alignas(64) Big { char bytes[64]; };

static int handled;

static void gives_up() {
    if (++handled == 3) throw std::bad_alloc();
}

static void lets_throw() {
    std::set_new_handler(nullptr);
    handled += 100;
}

template <class Ask> static int throws(Ask ask) {
    try {
        ask();
    } catch (std::bad_alloc &) {
        return 1;
    }
    return 0;
}

int main() {
    volatile size_t huge = ~(size_t)0 >> 2;
    std::align_val_t line{64};
    int right = 0;
    right += throws([&] { operator new(huge); });
    right += throws([&] { operator new[](huge); });
    right += throws([&] { operator new(huge, line); });
    right += throws([&] { operator new[](huge, line); });
    right += !operator new(huge, std::nothrow);
    right += !operator new[](huge, std::nothrow);
    right += !operator new(huge, line, std::nothrow);
    right += !operator new[](huge, line, std::nothrow);
    std::set_new_handler(gives_up);
    right += throws([&] { operator new(huge); });
    handled = 0;
    right += !operator new(huge, std::nothrow);
    std::set_new_handler(lets_throw);
    right += throws([&] { operator new(huge); });
    for (int i = 0; i < 1000; i++) {
        delete new int(i);
        delete[] new std::string[i + 1];
        delete new Big;
        delete[] new Big[3];
        Big *big = new (std::nothrow) Big;
        if ((size_t)big % 64) abort();
        delete big;
        operator delete(operator new(i), (size_t)i);
        operator delete(operator new(i, line), (size_t)i, line);
        operator delete[](operator new[](i, std::nothrow), std::nothrow);
    }
    delete (int *)nullptr;
    printf("%d right, handlers counted %d\n", right, handled);
}
