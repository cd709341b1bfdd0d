/* Before the libraries of the product: its wall clock is shifted by the seconds that a file holds.
 *
 * The file is named by TORTURE_CLOCK and read at most every 20 ms (of the monotonic clock, which is left alone), so that
 * the clock can be made to jump while the product runs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static _Atomic long long offset_seconds;
static _Atomic long long looked_at_ms = -1000;

static long long offset(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    long long ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
    if (ms - atomic_load(&looked_at_ms) < 20) return atomic_load(&offset_seconds);
    atomic_store(&looked_at_ms, ms);
    const char *path = getenv("TORTURE_CLOCK");
    int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        char text[32] = {0};
        if (syscall(SYS_read, file, text, sizeof text - 1) > 0) atomic_store(&offset_seconds, atoll(text));
        syscall(SYS_close, file);
    }
    return atomic_load(&offset_seconds);
}

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    long result = syscall(SYS_clock_gettime, clock, at);
    if (result == 0 && is_wall(clock)) at->tv_sec += offset();
    return (int)result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
