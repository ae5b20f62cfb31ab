/* Preloaded into a server, so that a test sets the time of day that it sees: a 64-bit number in the file that TEST_CLOCK
   names, the microseconds since 1970 at which the time stands still; 0: it does not.
   And so that the server ends with the test, even if that is killed: it holds the other end of standard input. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *stands_at;

static void *ends_with_the_test(void *nothing) {
    char byte;
    while (read(0, &byte, 1) > 0) {}
    _exit(98);
    return nothing;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    void *map = file < 0 ? MAP_FAILED : mmap(0, sizeof *stands_at, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) _exit(99);
    stands_at = map;
    pthread_t thread;
    if (pthread_create(&thread, 0, ends_with_the_test, 0)) _exit(97);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long failed = syscall(SYS_clock_gettime, clock, time);
    int64_t micros = stands_at ? *stands_at : 0;
    if (failed || !micros || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return (int)failed;
    time->tv_sec = micros / 1000000;
    time->tv_nsec = micros % 1000000 * 1000;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    if (now) *now = time.tv_sec;
    return time.tv_sec;
}
