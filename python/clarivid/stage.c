// SPDX-License-Identifier: BSD-2-Clause
/*
 * Preloaded into a game that is filmed (clarivid.games): the game's clock goes on by one frame of the film
 * with every picture that it shows, however long drawing takes, and each picture is written to a pipe.
 *
 *   CLARIVID_STAGE_GO    a file: filming begins when it is there, until then the clock is the real one
 *   CLARIVID_STAGE_PIPE  where pictures go: width*height*4 bytes, red first, GL's rows are bottom to top
 *   CLARIVID_STAGE_SIZE  <width>x<height>
 *   CLARIVID_STAGE_FPS   pictures a second of the game's time
 *
 * Games wait for the time of their next picture by sleeping. While filming a sleep of the main thread takes
 * no time but moves the clock; other threads (sound) sleep as they always did.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static _Atomic int filming;
static _Atomic int64_t game; /* monotonic time of the game, while filming */
static int64_t shown;        /* game's time of the picture before */
static int64_t start_shift;  /* realtime less monotonic clock */
static int out = -1, width, height;
static unsigned char *pixels;

static int64_t real_clock(clockid_t id) {
    struct timespec t;
    syscall(SYS_clock_gettime, id, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static int64_t now(clockid_t id) {
    if (!atomic_load(&filming))
        return real_clock(id);
    int64_t t = atomic_fetch_add(&game, 500); /* a loop that only asks for the time gets somewhere */
    return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? t + start_shift : t;
}

static int is_wall(clockid_t id) {
    return id == CLOCK_REALTIME || id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_RAW ||
           id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_BOOTTIME;
}

static int main_thread(void) {
    return syscall(SYS_gettid) == getpid();
}

/* True when the sleep was only a step of the clock. */
static int sleeps(int64_t duration) {
    if (!atomic_load(&filming) || !main_thread())
        return 0;
    if (duration > 0)
        atomic_fetch_add(&game, duration < SECOND ? duration : SECOND);
    return 1;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    if (!is_wall(id))
        return (int)syscall(SYS_clock_gettime, id, t);
    int64_t v = now(id);
    t->tv_sec = v / SECOND;
    t->tv_nsec = v % SECOND;
    return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    (void)zone;
    int64_t v = now(CLOCK_REALTIME);
    t->tv_sec = v / SECOND;
    t->tv_usec = v % SECOND / 1000;
    return 0;
}

time_t time(time_t *t) {
    time_t v = now(CLOCK_REALTIME) / SECOND;
    if (t)
        *t = v;
    return v;
}

int nanosleep(const struct timespec *t, struct timespec *left) {
    if (sleeps(t->tv_sec * SECOND + t->tv_nsec))
        return 0;
    return (int)syscall(SYS_nanosleep, t, left);
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *t, struct timespec *left) {
    int64_t v = t->tv_sec * SECOND + t->tv_nsec;
    if (atomic_load(&filming) && main_thread()) {
        sleeps(flags & TIMER_ABSTIME ? v - now(id) : v);
        return 0;
    }
    return syscall(SYS_clock_nanosleep, id, flags, t, left) ? errno : 0;
}

int usleep(useconds_t microseconds) {
    struct timespec t = {microseconds / 1000000, microseconds % 1000000 * 1000};
    return nanosleep(&t, NULL);
}

int select(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e, struct timeval *restrict t) {
    struct timeval none = {0, 0};
    if (t && sleeps(t->tv_sec * SECOND + t->tv_usec * 1000))
        t = &none;
    return (int)syscall(SYS_select, n, r, w, e, t);
}

int poll(struct pollfd *fds, nfds_t n, int timeout) {
    /* X and sound ask with no time or for ever; only a wait for a time is a sleep. */
    if (timeout > 0 && sleeps(timeout * (SECOND / 1000)))
        timeout = 0;
    return (int)syscall(SYS_poll, fds, n, timeout);
}

static void begin(void) {
    const char *go = getenv("CLARIVID_STAGE_GO"), *pipe = getenv("CLARIVID_STAGE_PIPE");
    const char *size = getenv("CLARIVID_STAGE_SIZE");
    if (filming || !go || !pipe || !size || access(go, F_OK) != 0)
        return;
    if (sscanf(size, "%dx%d", &width, &height) != 2)
        return;
    pixels = malloc((size_t)width * height * 4);
    out = open(pipe, O_WRONLY | O_CLOEXEC);
    if (!pixels || out < 0)
        _exit(3);
    signal(SIGPIPE, SIG_IGN);
    game = shown = real_clock(CLOCK_MONOTONIC);
    start_shift = real_clock(CLOCK_REALTIME) - shown;
    atomic_store(&filming, 1);
}

static void picture_done(void) {
    size_t size = (size_t)width * height * 4, done = 0;
    while (done < size) {
        ssize_t n = write(out, pixels + done, size - done);
        if (n <= 0)
            _exit(0); /* enough pictures: nobody reads any more */
        done += (size_t)n;
    }
    const char *fps = getenv("CLARIVID_STAGE_FPS");
    shown += SECOND / (fps && atoi(fps) > 0 ? atoi(fps) : 30);
    if (atomic_load(&game) < shown)
        atomic_store(&game, shown);
    else
        shown = atomic_load(&game);
}

/* The function of that name in the library that is loaded already. */
static void *function(const char *library, const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
        found = handle ? dlsym(handle, name) : NULL;
    }
    return found;
}

static void gl_picture(void) {
    begin();
    if (!filming)
        return;
    void (*read)(int, int, int, int, unsigned, unsigned, void *) = function("libGL.so.1", "glReadPixels");
    void (*store)(unsigned, int) = function("libGL.so.1", "glPixelStorei");
    if (!read || !store)
        _exit(4);
    store(0x0D05, 1);                                  /* GL_PACK_ALIGNMENT */
    read(0, 0, width, height, 0x1908, 0x1401, pixels); /* GL_RGBA, GL_UNSIGNED_BYTE */
    picture_done();
}

void glXSwapBuffers(void *display, unsigned long drawable) {
    gl_picture();
    void (*next)(void *, unsigned long) = function("libGL.so.1", "glXSwapBuffers");
    next(display, drawable);
}

unsigned eglSwapBuffers(void *display, void *surface) {
    gl_picture();
    unsigned (*next)(void *, void *) = function("libEGL.so.1", "eglSwapBuffers");
    return next(display, surface);
}

void SDL_GL_SwapWindow(void *window) {
    gl_picture();
    void (*next)(void *) = function("libSDL2-2.0.so.0", "SDL_GL_SwapWindow");
    next(window);
}

void SDL_GL_SwapBuffers(void) {
    gl_picture();
    void (*next)(void) = function("libSDL-1.2.so.0", "SDL_GL_SwapBuffers");
    next();
}

void SDL_RenderPresent(void *renderer) {
    begin();
    if (filming) {
        int (*read)(void *, const void *, uint32_t, void *, int) =
            function("libSDL2-2.0.so.0", "SDL_RenderReadPixels");
        if (!read || read(renderer, NULL, 0x16762004u, pixels, width * 4)) /* SDL_PIXELFORMAT_ABGR8888 */
            _exit(4);
        for (int top = 0, bottom = height - 1; top < bottom; top++, bottom--) /* as GL has its rows */
            for (int x = 0; x < width * 4; x++) {
                unsigned char *a = pixels + (size_t)top * width * 4 + x;
                unsigned char *b = pixels + (size_t)bottom * width * 4 + x, c = *a;
                *a = *b;
                *b = c;
            }
        picture_done();
    }
    void (*next)(void *) = function("libSDL2-2.0.so.0", "SDL_RenderPresent");
    next(renderer);
}
