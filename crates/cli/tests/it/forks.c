/* Forks at bad moments. Prints "well" if all children ended well; SIGALRM ends what hangs.
 *
 *     forks handler    a signal handler forks, whatever it interrupts
 *     forks streams    one thread flushes all streams and one reads lines while a third forks
 *     forks medium     nobody has asked for anything small before the first fork
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int is_over, failed, forks;

/* Waits for a child that ends at once, and takes down whether it ended well. */
static void await(pid_t child) {
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) failed = 1;
    forks++;
}

static void handle(int signal) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    await(child);
}

/* Asks for what no thread keeps to itself. */
static void ask(unsigned turn) {
    size_t bytes = 300000 + turn * 7919u % 3000000;
    char *payload = malloc(bytes);
    if (!payload) abort();
    payload[turn % bytes] = 1;
    free(payload);
}

static void *asks(void *nothing) {
    for (unsigned turn = 0; !is_over; turn++) ask(turn);
    return 0;
}

static int in_handlers(void) {
    signal(SIGUSR1, handle);
    pthread_t asking;
    pthread_create(&asking, 0, asks, 0);
    for (int sent = 1; sent <= 300; sent++) {
        pthread_kill(asking, SIGUSR1);
        while (forks < sent) sched_yield();
    }
    is_over = 1;
    pthread_join(asking, 0);
    return 0;
}

static void *flushes(void *nothing) {
    while (!is_over) fflush(0);
    return 0;
}

static void *reads(void *file) {
    while (!is_over) {
        char *line = 0;
        size_t room = 0;
        rewind(file);
        if (getline(&line, &room, file) < 0) failed = 1;
        free(line);
    }
    return 0;
}

static int beside_streams(void) {
    FILE *file = tmpfile();
    for (int i = 0; i < 2000000; i++) fputc('x', file);
    fputc('\n', file);
    fflush(file);
    pthread_t flushing, reading;
    pthread_create(&flushing, 0, flushes, 0);
    pthread_create(&reading, 0, reads, file);
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        if (child == 0) {
            /* The child has streams that nobody holds, and a heap. */
            char *text = 0;
            size_t bytes;
            FILE *stream = open_memstream(&text, &bytes);
            fprintf(stream, "%d", i);
            fclose(stream);
            free(text);
            _exit(0);
        }
        await(child);
    }
    is_over = 1;
    pthread_join(flushing, 0);
    pthread_join(reading, 0);
    return 0;
}

static int with_medium_only(void) {
    pthread_t asking;
    pthread_create(&asking, 0, asks, 0);
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        if (child == 0) {
            ask(i);
            _exit(0);
        }
        await(child);
    }
    is_over = 1;
    pthread_join(asking, 0);
    return 0;
}

int main(int count, char **words) {
    alarm(120);
    const char *how = count > 1 ? words[1] : "";
    if (!strcmp(how, "handler")) in_handlers();
    else if (!strcmp(how, "streams")) beside_streams();
    else if (!strcmp(how, "medium")) with_medium_only();
    else return 2;
    puts(failed ? "a child did not end well" : "well");
    return failed;
}
