/* SPDX-License-Identifier: Apache-2.0 */
/* A packet from a worker that was taken over. */
#include "proc/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_err err = VD_ERR_INIT, back;
    struct proc_request rq;
    int rc = proc_request_decode(data, size, 3, &rq, &err);

    if (rc) {
        if (!err.msg[0] || err.cls == VD_OK)
            abort();
        return 0;
    }
    if (rq.kind == PROC_OPEN && (rq.dir >= 3 || !blk_source_name_ok(rq.u.name)))
        abort();
    if (rq.kind == PROC_RESULT) {
        proc_err_from_wire(&rq.u.err, rq.rc, &back);
        if (strnlen(back.msg, sizeof(back.msg)) == sizeof(back.msg) || strchr(back.msg, '\033'))
            abort();
    }
    return 0;
}
