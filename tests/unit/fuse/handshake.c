/* SPDX-License-Identifier: Apache-2.0 */
/* The amendment of INIT: offered and wanted, offered and not wanted, not offered, short, foreign. */
#include "fakes.h"

#include "fuse/handshake.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#define ALLOW_MMAP (UINT32_C(1) << 4) /* bit 36 of the flags */

struct init_request {
    struct fuse_in_header head;
    struct fuse_init_in init;
};

static struct init_request request(uint32_t flags, uint32_t flags2)
{
    return (struct init_request){
        .head = {.len = sizeof(struct init_request), .opcode = FUSE_INIT, .unique = 2},
        .init = {.major = 7, .minor = 40, .flags = flags, .flags2 = flags2},
    };
}

/* Lets one answer to request `unique` pass; gives what became of it. */
static struct fuse_init_out answer(struct server *s, uint64_t unique, int error, size_t len)
{
    struct fuse_out_header head = {.len = sizeof(head), .error = error, .unique = unique};
    struct fuse_init_out out = {.major = 7, .flags = FUSE_ASYNC_READ};
    struct iovec iov[2] = {{&head, sizeof(head)}, {&out, len}};

    handshake_answer(s, iov, len ? 2 : 1);
    return out;
}

static void accepted_when_offered(void **state)
{
    struct init_request rq = request(FUSE_INIT_EXT, ALLOW_MMAP);
    struct server s = {.exact = true};
    struct fuse_init_out out;

    (void)state;
    handshake_request(&s, &rq, sizeof(rq));
    assert_true(s.mmap_offered);
    out = answer(&s, 3, 0, sizeof(out)); /* another request's answer */
    assert_int_equal(out.flags2, 0);
    out = answer(&s, 2, 0, sizeof(out));
    assert_int_equal(out.flags2, ALLOW_MMAP);
    assert_int_equal(out.flags, FUSE_INIT_EXT | FUSE_ASYNC_READ);
    out = answer(&s, 2, 0, sizeof(out)); /* once */
    assert_int_equal(out.flags, FUSE_ASYNC_READ);
}

static void left_alone(void **state)
{
    struct init_request rq = request(FUSE_INIT_EXT, ALLOW_MMAP);
    struct init_request no_ext = request(0, ALLOW_MMAP), no_bit = request(FUSE_INIT_EXT, 0xf);
    struct server normal = {0}, old = {.exact = true}, s = {.exact = true};
    struct fuse_init_out out;

    (void)state;
    handshake_request(&normal, &rq, sizeof(rq));
    out = answer(&normal, 2, 0, sizeof(out));
    assert_int_equal(out.flags, FUSE_ASYNC_READ);
    handshake_request(&old, &no_ext, sizeof(no_ext));
    assert_false(old.mmap_offered);
    handshake_request(&old, &no_bit, sizeof(no_bit));
    assert_false(old.mmap_offered);
    handshake_request(&old, &rq, offsetof(struct init_request, init.flags2)); /* an old kernel's */
    assert_false(old.mmap_offered);
    out = answer(&old, 2, 0, sizeof(out));
    assert_int_equal(out.flags, FUSE_ASYNC_READ);
    handshake_request(&s, &rq, sizeof(rq));
    out = answer(&s, 2, -EPROTO, sizeof(out));
    assert_int_equal(out.flags, FUSE_ASYNC_READ);
    out = answer(&s, 2, 0, FUSE_COMPAT_22_INIT_OUT_SIZE); /* has no flags2 */
    assert_int_equal(out.flags, FUSE_ASYNC_READ);
    (void)answer(&s, 2, 0, 0);
    rq.head.opcode = FUSE_GETATTR;
    handshake_request(&normal, &rq, sizeof(rq.head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_when_offered),
        cmocka_unit_test(left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
