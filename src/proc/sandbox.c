/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox of the worker: prctl(2) PR_SET_NO_NEW_PRIVS, capabilities(7), landlock(7).
 *
 * A process of user 0 without capabilities still owns root's files; that is why Landlock denies
 * opening anything.  Descriptors that are already open, and those that the supervisor sends, are
 * not touched by it.  Landlock binds the calling thread and the threads that it makes later, so
 * this runs before any.  The numbers below are the kernel's ABI (linux/landlock.h): they are
 * written out because headers are often older than the running kernel.
 */
#include "proc/sandbox.h"

#include "base/charset.h"
#include "base/text.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The newest ABI whose rights are known here. */
#define LANDLOCK_ABI_KNOWN 7

#define LANDLOCK_VERSION_FLAG (1u << 0)

struct landlock_ruleset { /* struct landlock_ruleset_attr */
    uint64_t fs;
    uint64_t net;   /* since ABI 4 */
    uint64_t scope; /* since ABI 6 */
};

/* What each ABI brought.  7 added only flags about logging. */
static const struct landlock_level {
    unsigned n_fs;    /* rights 0 … n_fs - 1 of the file system */
    unsigned n_net;   /* bind and connect of TCP */
    unsigned n_scope; /* abstract sockets and signals to outside */
    size_t size;      /* of struct landlock_ruleset */
} landlock_levels[LANDLOCK_ABI_KNOWN + 1] = {
    [1] = {13, 0, 0, 8},  [2] = {14, 0, 0, 8},  [3] = {15, 0, 0, 8},  [4] = {15, 2, 0, 16},
    [5] = {16, 2, 0, 16}, [6] = {16, 2, 2, 24}, [7] = {16, 2, 2, 24},
};

int proc_sandbox_landlock_abi(int *out_errno)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG);

    if (out_errno)
        *out_errno = abi < 0 ? errno : 0;
    return abi > 0 ? (int)abi : 0;
}

static uint64_t low_bits(unsigned n)
{
    return (UINT64_C(1) << n) - 1;
}

/* Returns 0 or an errno; *out_abi is the kernel's. */
static int landlock_enter(int *out_abi)
{
    int why, abi = proc_sandbox_landlock_abi(&why);
    const struct landlock_level *level;
    struct landlock_ruleset rules;
    long fd;

    if (!abi)
        return why ? why : ENOSYS;
    level = &landlock_levels[abi < LANDLOCK_ABI_KNOWN ? abi : LANDLOCK_ABI_KNOWN];
    rules = (struct landlock_ruleset){
        .fs = low_bits(level->n_fs),
        .net = low_bits(level->n_net),
        .scope = low_bits(level->n_scope),
    };
    fd = syscall(SYS_landlock_create_ruleset, &rules, level->size, 0);
    if (fd < 0)
        return errno;
    why = syscall(SYS_landlock_restrict_self, (int)fd, 0) ? errno : 0;
    (void)close((int)fd);
    *out_abi = abi;
    return why;
}

/* Empties every set.  The bounding set needs CAP_SETPCAP; without it (an ordinary user) it is
 * without effect anyway once no_new_privs is set. */
static int capabilities_drop(void)
{
    cap_t none;
    int rc, cap;

    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    none = cap_init(); /* all sets empty */
    if (!none)
        return errno;
    rc = cap_set_proc(none) ? errno : 0;
    (void)cap_free(none);
    return rc;
}

static void *wait_for_cancel(void *arg)
{
    (void)arg;
    for (;;)
        (void)pause(); /* a cancellation point */
    return NULL;
}

/* What libraries open on first use: the time zone, iconv's converters, OpenSSL's configuration and providers, and the
 * unwinder that thread cancellation (libfuse's way to stop its threads) loads. */
static void warm_up(void)
{
    EVP_MD *md;
    pthread_t thread;

    tzset();
    vd_charset_load();
    (void)OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_ADD_ALL_DIGESTS |
                                  OPENSSL_INIT_ADD_ALL_CIPHERS,
                              NULL);
    md = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_MD_free(md);
    if (pthread_create(&thread, NULL, wait_for_cancel, NULL) == 0) {
        (void)pthread_cancel(thread);
        (void)pthread_join(thread, NULL);
    }
}

/* Adds one part to the words; with `require` a missing one is the failure. */
static int tell(struct vd_str *words, bool require, int missing, const char *good, const char *bad,
                struct vd_err *err)
{
    char reason[128];

    if (missing && require)
        return vd_fail_errno(err, VD_EREFUSED, missing, "sandbox=require: %s", bad);
    if (words->len)
        vd_str_add(words, ", ");
    if (missing)
        vd_str_addf(words, "%s (%s)", bad, strerror_r(missing, reason, sizeof(reason)));
    else
        vd_str_add(words, good);
    return 0;
}

static int lock_down(bool require, struct vd_str *words, struct vd_err *err)
{
    int nnp, caps, landlock, rc, abi = 0;
    char good[64];

    nnp = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? errno : 0;
    caps = capabilities_drop();
    landlock = landlock_enter(&abi);
    (void)snprintf(good, sizeof(good), "landlock ABI %d%s", abi,
                   abi > LANDLOCK_ABI_KNOWN ? " (rights of ABI 7)" : "");
    rc = tell(words, require, landlock, good, "NO landlock: the kernel does not offer it", err);
    if (rc == 0)
        rc =
            tell(words, require, caps, "no capabilities", "capabilities could NOT be dropped", err);
    if (rc == 0)
        rc = tell(words, require, nnp, "no_new_privs", "no_new_privs could NOT be set", err);
    return rc;
}

int proc_sandbox_enter(enum proc_sandbox_mode mode, char *words, size_t size, struct vd_err *err)
{
    struct vd_str text = VD_STR_INIT;
    int rc;

    if (mode == PROC_SANDBOX_OFF) {
        (void)vd_text_copy(words, size, "NONE (switched off by the user)");
        return 0;
    }
    warm_up();
    rc = lock_down(mode == PROC_SANDBOX_REQUIRE, &text, err);
    if (rc == 0 && text.failed)
        rc = vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc == 0)
        (void)vd_text_copy(words, size, text.p);
    vd_str_clear(&text);
    return rc;
}
