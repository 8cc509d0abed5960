/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared *shared_new(void)
{
    void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                   -1, 0);

    if (p == MAP_FAILED)
        fail_msg("cannot map shared memory");
    return p;
}

void shared_free(struct shared *s)
{
    (void)munmap(s, sizeof(*s));
}

struct proc_config pair_config(const char *const *dir, proc_worker_fn *worker, void *arg)
{
    return (struct proc_config){
        .dirs = dir,
        .n_dirs = 1,
        .sandbox = PROC_SANDBOX_BEST,
        .worker = worker,
        .arg = arg,
    };
}

long long now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool wait_for(atomic_int *flag, int ms)
{
    long long until = now_ns() + ms * 1000000LL;

    while (!atomic_load(flag)) {
        if (now_ns() > until)
            return false;
        (void)usleep(2000);
    }
    return true;
}

int count_fds(void)
{
    int fd, n = 0;

    for (fd = 0; fd < 4096; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

pid_t signal_later(struct shared *s, int sig, int ms, int times)
{
    pid_t target = getpid(), pid = fork();

    if (pid)
        return pid;
    if (!wait_for(&s->ready, 20000))
        _exit(1);
    (void)usleep((unsigned)ms * 1000);
    for (; times; times--) {
        (void)kill(target, sig);
        (void)usleep(50000);
    }
    _exit(0);
}

void join_child(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
}

int identify(struct proc_channel *ch, pid_t pid, struct proc_identity *out, struct vd_err *err)
{
    int fds[PROC_WATCH_FDS], rc = proc_channel_identify(ch, pid, out, fds, err), i;

    for (i = 0; rc == 0 && i < PROC_WATCH_FDS; i++)
        (void)close(fds[i]);
    return rc;
}
