/* Misuses of malloc, each a few lines, each played by a process of its own:
 *
 *     misuse            lists them: group, then name, a tab between
 *     misuse NUMBER     plays one, and ends with 0 if nobody stopped it, 3 if it does not exist here,
 *                       by SIGALRM if it hangs
 *
 * What follows a misuse (settle) is what any program does later: it frees the neighbours, and asks
 * for more of the same size and frees it. Sizes are of every way in which mallocs serve requests.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNSEEN 0
#define ABSENT 3
#define NEIGHBOURS 8

typedef unsigned char byte;

/* What no compiler may reason about. */
static void *volatile sink;
static byte *hide(void *pointer) { sink = pointer; return sink; }

static size_t SIZE;
static byte *before[NEIGHBOURS], *victim, *after[NEIGHBOURS];

/* A payload of SIZE bytes, with neighbours of the same size on both sides. */
static byte *among(void) {
    for (int i = 0; i < NEIGHBOURS; i++) before[i] = hide(malloc(SIZE));
    victim = hide(malloc(SIZE));
    for (int i = 0; i < NEIGHBOURS; i++) after[i] = hide(malloc(SIZE));
    memset(victim, 7, SIZE);
    return victim;
}

/* Frees the neighbours, and works on. */
static void settle(void) {
    for (int i = 0; i < NEIGHBOURS; i++) { free(before[i]); free(after[i]); }
    void *more[100];
    int count = SIZE > 1000000 ? 8 : 100;
    for (int i = 0; i < count; i++) more[i] = hide(malloc(SIZE));
    for (int i = 0; i < count; i++) free(more[i]);
    malloc_trim(0);
}

static void *free_it(void *pointer) { free(pointer); return 0; }

static void free_elsewhere(void *pointer) {
    pthread_t thread;
    pthread_create(&thread, 0, free_it, pointer);
    pthread_join(thread, 0);
}

/* -- double frees ----------------------------------------------------------------------------- */

static void twice_at_once(void) { byte *p = among(); free(p); free(hide(p)); settle(); }

static void twice_with_one_between(void) {
    byte *p = among();
    free(p); free(after[0]); free(hide(p));
    after[0] = 0;
    settle();
}

static void twice_with_many_between(void) {
    byte *p = among();
    void *others[200];
    int count = SIZE > 100000 ? 8 : 200;
    for (int i = 0; i < count; i++) others[i] = hide(malloc(SIZE));
    free(p);
    for (int i = 0; i < count; i++) free(others[i]);
    free(hide(p));
    settle();
}

static void twice_the_second_elsewhere(void) { byte *p = among(); free(p); free_elsewhere(p); settle(); }
static void twice_the_first_elsewhere(void) { byte *p = among(); free_elsewhere(p); free(hide(p)); settle(); }
static void twice_elsewhere(void) { byte *p = among(); free_elsewhere(p); free_elsewhere(p); settle(); }

static void after_it_moved(void) {
    byte *p = among(), *q = hide(realloc(p, 4 * SIZE + 100000));
    /* A mapping may grow where it is: then this is no misuse. */
    if (q == p) exit(ABSENT);
    free(hide(p)); free(q);
    settle();
}

static void resized_after_free(void) { byte *p = among(); free(p); sink = realloc(hide(p), SIZE + 1); settle(); }

/* -- invalid frees ---------------------------------------------------------------------------- */

static void one_byte_in(void) { free(among() + 1); settle(); }
static void eight_bytes_in(void) { free(among() + 8); settle(); }
static void sixteen_bytes_in(void) { free(among() + 16); settle(); }
static void in_the_middle(void) { free(among() + (SIZE / 2 & ~(size_t)15)); settle(); }
static void its_last_byte(void) { free(among() + SIZE - 1); settle(); }
static void sixteen_bytes_before(void) { free(among() - 16); settle(); }
static void resized_inside(void) { sink = realloc(among() + 16, SIZE + 1); settle(); }

static void of_the_stack(void) { byte local[64]; free(hide(local + 16 - ((uintptr_t)local & 15))); settle(); }
static byte room[4096] __attribute__((aligned(4096)));
static void of_a_static(void) { free(hide(room)); settle(); }
static void inside_a_static(void) { free(hide(room + 1024)); settle(); }
static void of_a_text(void) { free(hide((void *)"text")); settle(); }
static void of_a_function(void) { free(hide((void *)(uintptr_t)settle)); settle(); }
static void of_a_small_number(void) { free(hide((void *)16)); settle(); }
static void of_a_large_number(void) { free(hide((void *)0x7ffffffffff0)); settle(); }
static void of_no_address(void) { free(hide((void *)0xdeadbeefdeadbee0)); settle(); }
static void of_minus_one(void) { free(hide((void *)-1)); settle(); }
static void of_the_break(void) { byte *p = among(); free(hide((void *)(((uintptr_t)p & ~0xffffffful) + 0x8000000))); settle(); }

static void of_another_mapping(void) {
    byte *p = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 0, 1 << 20);
    free(hide(p + 4096)); settle();
}

static void of_a_thread_local(void) { static __thread byte local[64]; free(hide(local)); settle(); }

/* -- frees with a wrong size ------------------------------------------------------------------ */

extern void free_sized(void *, size_t) __attribute__((weak));
extern void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
extern void sized_delete(void *, size_t) __asm__("_ZdlPvm") __attribute__((weak));
extern void sized_delete_array(void *, size_t) __asm__("_ZdaPvm") __attribute__((weak));

static void need(void *function) { if (!function) exit(ABSENT); }
static void sized_too_small(void) { need(free_sized); free_sized(among(), SIZE / 4); settle(); }
static void sized_too_large(void) { need(free_sized); free_sized(among(), SIZE * 4); settle(); }
static void sized_of_a_freed(void) { need(free_sized); byte *p = among(); free(p); free_sized(hide(p), SIZE); settle(); }
static void aligned_sized_too_large(void) {
    need(free_aligned_sized);
    free_aligned_sized(hide(aligned_alloc(64, SIZE & ~63ul)), 64, SIZE * 4 & ~63ul);
    among(); settle();
}
static void aligned_sized_too_small(void) {
    need(free_aligned_sized);
    free_aligned_sized(hide(aligned_alloc(64, SIZE & ~63ul)), 64, SIZE / 4 & ~63ul);
    among(); settle();
}
static void deleted_too_small(void) { need(sized_delete); sized_delete(among(), SIZE / 4); settle(); }
static void deleted_too_large(void) { need(sized_delete); sized_delete(among(), SIZE * 4); settle(); }
static void deleted_array_too_large(void) { need(sized_delete_array); sized_delete_array(among(), SIZE * 4); settle(); }

/* -- writes past either end, seen when the payload or a neighbour is freed --------------------- */

static void past_the_end(int count) { byte *p = among(); memset(p + SIZE, 0x41, count); }
static void one_past(void) { past_the_end(1); free(victim); settle(); }
static void eight_past(void) { past_the_end(8); free(victim); settle(); }
static void sixteen_past(void) { past_the_end(16); free(victim); settle(); }
static void eight_past_the_neighbour(void) { past_the_end(8); settle(); free(victim); }
static void sixteen_past_the_neighbour(void) { past_the_end(16); settle(); free(victim); }
static void zero_past(void) { byte *p = among(); p[SIZE] = 0; free(victim); settle(); }

static void under(int count) { byte *p = among(); memset(p - count, 0x41, count); }
static void one_before(void) { under(1); free(victim); settle(); }
static void eight_before(void) { under(8); free(victim); settle(); }
static void sixteen_before(void) { under(16); free(victim); settle(); }

/* -- writes after a free ---------------------------------------------------------------------- */

static void first_word_after(void) { byte *p = among(); free(p); memset(hide(p), 0x41, 8); settle(); }
static void second_word_after(void) { byte *p = among(); free(p); memset(hide(p) + 8, 0x41, 8); settle(); }
static void later_byte_after(void) { byte *p = among(); free(p); hide(p)[SIZE / 2] = 0x41; settle(); }
static void last_byte_after(void) { byte *p = among(); free(p); hide(p)[SIZE - 1] = 0x41; settle(); }

/* -- the list --------------------------------------------------------------------------------- */

struct misuse { const char *group, *name; size_t size; void (*play)(void); };

#define EACH(group, name, play, ...) SIZES(group, name, play, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SIZES(group, name, play, a, b, c, d, e, f, ...)                                       \
    {group, name, a, play}, {group, name, b, play}, {group, name, c, play},                  \
        {group, name, d, play}, {group, name, e, play}, {group, name, f, play},

static const struct misuse ALL[] = {
    EACH("double free", "at once", twice_at_once, 24, 200, 3000, 40000, 1000000, 8000000)
    EACH("double free", "one between", twice_with_one_between, 24, 200, 3000, 40000, 1000000, 8000000)
    EACH("double free", "many between", twice_with_many_between, 24, 200, 3000, 40000, 1000000, 8000000)
    EACH("double free", "the second elsewhere", twice_the_second_elsewhere, 24, 3000, 40000, 8000000)
    EACH("double free", "the first elsewhere", twice_the_first_elsewhere, 24, 3000, 40000, 8000000)
    EACH("double free", "both elsewhere", twice_elsewhere, 24, 3000, 40000, 8000000)
    EACH("double free", "after it moved", after_it_moved, 24, 3000, 40000)
    EACH("double free", "resized after it", resized_after_free, 24, 3000, 40000, 8000000)
    EACH("invalid free", "one byte in", one_byte_in, 48, 3000, 40000, 8000000)
    EACH("invalid free", "eight bytes in", eight_bytes_in, 48, 40000)
    EACH("invalid free", "sixteen bytes in", sixteen_bytes_in, 48, 3000, 40000, 8000000)
    EACH("invalid free", "in the middle", in_the_middle, 200, 3000, 40000, 1000000, 8000000)
    EACH("invalid free", "its last byte", its_last_byte, 48, 3000, 40000)
    EACH("invalid free", "sixteen bytes before", sixteen_bytes_before, 48, 3000, 40000, 8000000)
    EACH("invalid free", "resized inside", resized_inside, 48, 3000, 40000, 8000000)
    EACH("invalid free", "of the stack", of_the_stack, 48)
    EACH("invalid free", "of a static", of_a_static, 48)
    EACH("invalid free", "inside a static", inside_a_static, 48)
    EACH("invalid free", "of a text", of_a_text, 48)
    EACH("invalid free", "of a function", of_a_function, 48)
    EACH("invalid free", "of a small number", of_a_small_number, 48)
    EACH("invalid free", "of a large number", of_a_large_number, 48)
    EACH("invalid free", "of no address", of_no_address, 48)
    EACH("invalid free", "of minus one", of_minus_one, 48)
    EACH("invalid free", "far from all payloads", of_the_break, 48)
    EACH("invalid free", "of another mapping", of_another_mapping, 48)
    EACH("invalid free", "of a thread-local", of_a_thread_local, 48)
    EACH("wrong size", "too small", sized_too_small, 1000, 40000, 8000000)
    EACH("wrong size", "too large", sized_too_large, 24, 1000, 40000, 8000000)
    EACH("wrong size", "of a freed payload", sized_of_a_freed, 24, 40000)
    EACH("wrong size", "aligned, too small", aligned_sized_too_small, 1024, 40000)
    EACH("wrong size", "aligned, too large", aligned_sized_too_large, 1024, 40000)
    EACH("wrong size", "deleted, too small", deleted_too_small, 1000, 40000)
    EACH("wrong size", "deleted, too large", deleted_too_large, 24, 1000, 40000)
    EACH("wrong size", "array deleted, too large", deleted_array_too_large, 1000)
    EACH("overrun", "by 1", one_past, 24, 200, 3000, 40000, 1000000)
    EACH("overrun", "by 8", eight_past, 24, 200, 3000, 40000, 1000000)
    EACH("overrun", "by 16", sixteen_past, 24, 200, 3000, 40000, 1000000)
    EACH("overrun", "by 8, neighbours first", eight_past_the_neighbour, 24, 3000, 40000)
    EACH("overrun", "by 16, neighbours first", sixteen_past_the_neighbour, 24, 3000, 40000)
    EACH("overrun", "by a zero", zero_past, 24, 40, 3000, 40000)
    EACH("underrun", "by 1", one_before, 24, 3000, 40000)
    EACH("underrun", "by 8", eight_before, 24, 3000, 40000)
    EACH("underrun", "by 16", sixteen_before, 24, 3000, 40000)
    EACH("write after free", "the first word", first_word_after, 24, 200, 3000, 40000, 8000000)
    EACH("write after free", "the second word", second_word_after, 24, 200, 3000, 40000)
    EACH("write after free", "in the middle", later_byte_after, 24, 200, 3000, 40000)
    EACH("write after free", "the last byte", last_byte_after, 24, 200, 3000, 40000)
};

int main(int count, char **words) {
    int number = 0, wanted = count > 1 ? atoi(words[1]) : 0;
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        if (!ALL[i].size) continue;
        number++;
        if (!wanted) printf("%s\t%s, %zu bytes\n", ALL[i].group, ALL[i].name, ALL[i].size);
        if (number != wanted) continue;
        alarm(10);
        SIZE = ALL[i].size;
        ALL[i].play();
        return UNSEEN;
    }
    return wanted ? ABSENT : 0;
}
