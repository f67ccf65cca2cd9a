/* What a program needs of any malloc: the bytes that it has asked for and not freed, at their most.
 *
 *   LIVE=FILE LD_PRELOAD=./live.so PROGRAM...     adds a line for each process to FILE:
 *   name, bytes that live at most, KiB that are resident for anything else at the end
 *
 * It hands out glibc's payloads, each with its size in the last word. What is asked for in pieces of
 * 256 KiB or more is mapped by itself, and of it only those pages count that were touched: they are
 * looked at when one comes, when one goes, at the end, and each time that the rest has grown by a
 * 32nd. Memory that a program maps itself, past malloc, lives too. So the sum of both numbers is what
 * a malloc without any cost of its own would take; fragments of pages, and what grew in between two
 * looks, are not in it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LARGE (256l << 10)
#define LARGES 4096
#define PAGE 4096l
/* A program that maps more than this at once has reserved it, not used it. */
#define OWN_MOST (64l << 20)

void *__libc_malloc(size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static _Atomic long live, most, looked;
static struct large { char *at; long bytes, mapped; } larges[LARGES];
static int larges_end;
static _Atomic int lock;

static void take(void) { while (__atomic_exchange_n((int *)&lock, 1, __ATOMIC_ACQUIRE)) ; }
static void let_go(void) { __atomic_store_n((int *)&lock, 0, __ATOMIC_RELEASE); }

/* The bytes of the large payloads' pages that were touched; the lock is taken. */
static long touched(void) {
    static unsigned char pages[1 << 20];
    long sum = 0;
    for (int i = 0; i < larges_end; i++) {
        long count = (larges[i].bytes + PAGE - 1) / PAGE;
        for (long done = 0; larges[i].at && done < count; done += sizeof pages) {
            long some = count - done < (long)sizeof pages ? count - done : (long)sizeof pages;
            if (mincore(larges[i].at + done * PAGE, some * PAGE, pages) == 0)
                for (long j = 0; j < some; j++) sum += pages[j] & 1 ? PAGE : 0;
        }
    }
    return sum;
}

static void look(void) {
    int error = errno;
    looked = live;
    long now = live + touched();
    if (now > most) most = now;
    errno = error;
}

static void more(long bytes) {
    long now = live += bytes;
    if (now > looked + looked / 32) { take(); look(); let_go(); }
}

/* glibc has a chunk's size before its payload; bit 1 says that it is mapped, and ends with no other. */
static size_t room(void *payload) {
    size_t head = ((size_t *)payload)[-1];
    return (head & ~(size_t)15) - (head & 2 ? 16 : 8);
}
static size_t *size_of(void *payload) { return (size_t *)((char *)payload + room(payload)) - 1; }

static int find(void *payload) {
    for (int i = 0; i < larges_end; i++) if (larges[i].at == payload) return i;
    return -1;
}

static void *large(size_t align, size_t bytes) {
    if (align < PAGE) align = PAGE;
    long mapped = (bytes + align + PAGE - 1) & -PAGE;
    char *map = (char *)syscall(SYS_mmap, 0, mapped, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) { errno = ENOMEM; return NULL; }
    char *at = (char *)(((uintptr_t)map + align - 1) & -align);
    take();
    look();
    int i = find(NULL);
    if (i < 0 && larges_end < LARGES) i = larges_end++;
    if (i >= 0) larges[i] = (struct large){at, bytes, mapped - (at - map)};
    let_go();
    if (i < 0) abort();
    return at;
}

static void *given(void *payload, size_t bytes) {
    if (payload) { *size_of(payload) = bytes; more(bytes); }
    return payload;
}

void *memalign(size_t align, size_t bytes) {
    if (bytes > (size_t)1 << 46) { errno = ENOMEM; return NULL; }
    if (bytes >= LARGE) return large(align, bytes);
    void *payload = align <= 16 ? __libc_malloc(bytes + 16) : __libc_memalign(align, bytes + 16);
    return given(payload, bytes);
}

/* The bytes of a payload; if it is large, `take` was called. */
static size_t bytes_of(void *payload, int *place) {
    *place = -1;
    if ((uintptr_t)payload % PAGE == 0) {
        take();
        *place = find(payload);
        if (*place >= 0) return larges[*place].bytes;
        let_go();
    }
    return *size_of(payload);
}

void *malloc(size_t bytes) { return memalign(16, bytes); }

void free(void *payload) {
    int place, error = errno;
    if (!payload) return;
    size_t bytes = bytes_of(payload, &place);
    if (place >= 0) {
        look();
        syscall(SYS_munmap, payload, larges[place].mapped);
        larges[place].at = NULL;
        let_go();
    } else {
        live -= bytes;
        __libc_free(payload);
    }
    errno = error;
}

size_t malloc_usable_size(void *payload) {
    int place;
    if (!payload) return 0;
    size_t bytes = bytes_of(payload, &place);
    if (place >= 0) let_go();
    return bytes;
}

void *realloc(void *payload, size_t bytes) {
    int place;
    if (!payload) return malloc(bytes);
    if (!bytes) { free(payload); return NULL; }
    size_t has = bytes_of(payload, &place);
    if (place >= 0 && bytes >= LARGE) {
        long mapped = (bytes + PAGE - 1) & -PAGE;
        void *at = mremap(payload, larges[place].mapped, mapped, MREMAP_MAYMOVE);
        if (at != MAP_FAILED) larges[place] = (struct large){at, bytes, mapped};
        let_go();
        return at == MAP_FAILED ? NULL : at;
    }
    if (place >= 0) let_go();
    /* What is copied lives once: no malloc must have both. */
    if (place < 0) {
        live -= has;
        *size_of(payload) = 0;
    }
    void *moved = malloc(bytes);
    if (!moved) return NULL;
    memcpy(moved, payload, has < bytes ? has : bytes);
    free(payload);
    return moved;
}

void *calloc(size_t count, size_t each) {
    size_t bytes;
    if (__builtin_mul_overflow(count, each, &bytes)) { errno = ENOMEM; return NULL; }
    void *payload = malloc(bytes);
    return payload && bytes < LARGE ? memset(payload, 0, bytes) : payload;
}
void *aligned_alloc(size_t align, size_t bytes) { return memalign(align, bytes); }
void *valloc(size_t bytes) { return memalign(PAGE, bytes); }
int posix_memalign(void **payload, size_t align, size_t bytes) {
    void *given = memalign(align, bytes);
    if (given) *payload = given;
    return given ? 0 : ENOMEM;
}

/* What the program maps itself; glibc's own calls do not come this way. */
static struct { char *at; long bytes; } own[LARGES];

void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset) {
    char *map = (char *)syscall(SYS_mmap, at, bytes, protection, flags, file, offset);
    int is_own = flags & MAP_ANONYMOUS && flags & MAP_PRIVATE && protection & PROT_WRITE;
    if (map == MAP_FAILED || !is_own || (long)bytes > OWN_MOST) return map;
    take();
    int place = 0;
    while (place < LARGES - 1 && own[place].at) place++;
    own[place].at = map;
    own[place].bytes = bytes;
    let_go();
    more(bytes);
    return map;
}
void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));

int munmap(void *at, size_t bytes) {
    take();
    int place = 0;
    while (place < LARGES && !(own[place].at <= (char *)at
                               && (char *)at + bytes <= own[place].at + own[place].bytes)) place++;
    if (place < LARGES && own[place].at) {
        live -= bytes;
        if (bytes >= own[place].bytes) own[place].at = NULL;
    }
    let_go();
    return syscall(SYS_munmap, at, bytes);
}

/* Resident for anything but payloads: files, and what borders on them, stack and the like. */
static long others_kib(void) {
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[4096], name[64], device[32];
    unsigned long begin, end, file_end = 0;
    long inode, sum = 0;
    int counts = 0;
    while (smaps && fgets(line, sizeof line, smaps)) {
        *name = 0;
        if (sscanf(line, "%lx-%lx %*s %*x %31s %ld %63s", &begin, &end, device, &inode, name) >= 4) {
            int is_special = *name == '[' && strcmp(name, "[heap]") != 0;
            counts = inode || is_special || (!*name && begin == file_end);
            if (inode) file_end = end;
        } else if (counts && !strncmp(line, "Rss:", 4)) {
            sum += atol(line + 4);
        }
    }
    if (smaps) fclose(smaps);
    return sum;
}

__attribute__((destructor)) static void tell(void) {
    static _Atomic int is_told;
    char *path = getenv("LIVE"), line[128], name[32] = "?";
    if (!path || is_told++) return;
    take();
    look();
    let_go();
    long bytes = most, others = others_kib();
    int comm = open("/proc/self/comm", O_RDONLY);
    int length = read(comm, name, sizeof name - 1);
    close(comm);
    if (length > 1) name[length - 1] = 0;
    for (char *c = name; *c; c++) if (*c == ' ') *c = '_';
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    length = snprintf(line, sizeof line, "%s %ld %ld\n", name, bytes, others);
    if (write(file, line, length) != length) perror(path);
    close(file);
}

/* Some programs end so, past all destructors. */
void _exit(int status) {
    tell();
    for (;;) syscall(SYS_exit_group, status);
}
