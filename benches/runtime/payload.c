/* What the benches run: tells that it has begun, then waits to be ended.
 *
 * payload FIFO: writes 16 bytes (its number, and the monotonic clock in nanoseconds, each 8 bytes)
 * to the FIFO in one write, which is atomic, and waits for a signal.
 *
 * Static and tiny, so that what is measured is who starts it. */
#include <fcntl.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc > 1) {
        uint64_t note[2] = {(uint64_t)getpid(), (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec};
        int fifo = open(argv[1], O_WRONLY | O_CLOEXEC);
        if (fifo < 0 || write(fifo, note, sizeof note) != sizeof note) return 1;
        close(fifo);
    }
    for (;;) pause();
}
