/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring is a mapped file: when a page of it cannot be had (somebody cut the file short, its disk
 * failed, its file system became read-only), touching it is a SIGBUS, which would kill the process:
 * the worker, and the mount would be dead; or the supervisor, and the log would not be closed.
 * Instead the page is replaced by an empty one of this process's own, and the ring counts as broken:
 * audit_failed from then on, every access is answered EIO, and the writer gives the log up.
 *
 * Only the page that failed is replaced: the supervisor can still tell the worker by the others.  The
 * worker, when it is the one that is hit, needs nobody to tell it.
 *
 * Threads: the handler runs in whichever thread touched the page; it calls nothing but mmap(2) and
 * sigaction(2).  ring_guard and ring_unguard: while no other thread uses the ring.
 */
#include "audit/ring.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct audit_ring *guarded; /* one per process */
static size_t page_bytes;

static void on_sigbus(int signal_no, siginfo_t *info, void *context)
{
    struct audit_ring *ring = guarded;
    uintptr_t at = (uintptr_t)info->si_addr;
    uintptr_t start = ring ? (uintptr_t)ring->shared : 0;
    struct sigaction usual = {.sa_handler = SIG_DFL};

    (void)context;
    if (ring && info->si_code > 0 && at >= start && at - start < ring->map_bytes) {
        atomic_store(&ring->broken, true);
        at -= (at - start) % page_bytes;
        /* The bare system call: a handler may be anywhere, also in a sanitizer's own mmap. */
        if (syscall(SYS_mmap, at, page_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != -1)
            return;
    }
    (void)sigaction(signal_no, &usual,
                    NULL); /* not ours: the same access again, and its usual end */
}

int ring_guard(struct audit_ring *ring, struct vd_err *err)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};
    long size = sysconf(_SC_PAGESIZE);

    if (size <= 0)
        return vd_fail(err, VD_EAUDIT, "audit log: the size of a page is not known");
    page_bytes = (size_t)size;
    guarded = ring;
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, NULL))
        return vd_fail(err, VD_EAUDIT, "audit log: cannot take SIGBUS");
    return 0;
}

void ring_unguard(const struct audit_ring *ring)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};

    if (guarded != ring)
        return;
    guarded = NULL;
    (void)sigaction(SIGBUS, &usual, NULL);
}
