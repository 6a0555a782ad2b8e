/* The least that a supervisor can do: the baseline of the benches.
 *
 * bare COUNT PROGRAM ARG: starts COUNT processes with a vfork-like clone, waits on their pidfds
 * with one epoll, starts each again the moment it ends. On SIGTERM sends SIGTERM to all, waits for
 * them and ends. No output, no groups, no cgroups, no memory of anything. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char **words;
static char stack[64 * 1024] __attribute__((aligned(16)));
static pid_t *pids;
static int *pidfds;
static int epoll_fd;

static int child(void *unused) {
    (void)unused;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(words[0], words);
    _exit(127);
}

static void start(unsigned at) {
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
    pids[at] = clone(child, stack + sizeof stack, flags, NULL, &pidfds[at]);
    if (pids[at] < 0) {
        perror("clone");
        exit(1);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = at};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pidfds[at], &event);
}

/* Takes an end. An event may be stale: the descriptor leaves epoll before it is closed, and
 * nobody waits without WNOHANG. */
static int reap(unsigned at) {
    siginfo_t info = {0};
    if (waitid(P_PID, pids[at], &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) return 0;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, pidfds[at], NULL);
    close(pidfds[at]);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    unsigned count = strtoul(argv[1], NULL, 10), alive = count;
    words = argv + 2;
    pids = calloc(count, sizeof *pids);
    pidfds = calloc(count, sizeof *pidfds);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    int signals = signalfd(-1, &term, SFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signals, &event);
    for (unsigned at = 0; at < count; at++) start(at);
    int stopping = 0;
    while (alive > 0 || !stopping) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll_fd, events, 64, -1);
        if (n < 0 && errno != EINTR) return 1;
        for (int i = 0; i < n; i++) {
            unsigned at = events[i].data.u32;
            if (at == UINT32_MAX) {
                struct signalfd_siginfo info;
                if (read(signals, &info, sizeof info) < 0) return 1;
                stopping = 1;
                for (unsigned k = 0; k < count; k++)
                    syscall(SYS_pidfd_send_signal, pidfds[k], SIGTERM, NULL, 0);
            } else if (reap(at)) {
                if (stopping) alive--;
                else start(at);
            }
        }
    }
    return 0;
}
