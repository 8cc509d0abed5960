/* SPDX-License-Identifier: Apache-2.0 */
/* Prints one line for each log named: verdict, frames, records, last leaf.  Also makes a small
 * session ("--make DIR [open [unsealed]]") for the comparison with the second verifier. */
#include "audit/audit.h"
#include "audit/verify.h"
#include "base/sha256.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int make(const char *dir, bool leave_open, uint64_t records)
{
    static const char text[300] = "text";
    const struct audit_config config = {.dir = dir, .ring_bytes = 1, .segment_bytes = 3000};
    const struct audit_field field = {AUDIT_T_TEXT, text, sizeof(text)};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN, .fields = &field, .n_fields = 1};
    struct audit_writer *w;
    struct audit_ring *ring;
    uint64_t i;

    if (audit_open(&config, &w, &ring, NULL) || audit_wait(ring, audit_log(ring, &open), NULL))
        return 1;
    for (i = 0; i < records; i++) {
        const struct audit_event e = {
            .op = AUDIT_READ, .off = i, .fields = &field, .n_fields = i % 5 == 3};
        uint64_t seq = audit_log(ring, &e);

        if (i % 4 == 3 && audit_wait(ring, seq, NULL))
            return 1;
    }
    (void)printf("%s\n", audit_session_dir(w));
    if (leave_open)
        audit_forget_writer(w);
    return audit_close(w, AUDIT_CLOSE_CLEAN, NULL) ? 1 : 0;
}

int main(int argc, char **argv)
{
    int i;

    if (argc > 2 && strcmp(argv[1], "--make") == 0)
        return make(argv[2], argc > 3, argc > 4 ? 41 : 40);
    for (i = 1; i < argc; i++) {
        struct audit_report r;
        struct vd_err err = VD_ERR_INIT;
        char hex[2 * VD_SHA256_SIZE + 1];

        if (audit_verify(argv[i], NULL, NULL, NULL, &r, &err)) {
            (void)printf("UNREADABLE\n");
            continue;
        }
        vd_sha256_hex(r.leaf, hex);
        (void)printf("%s", audit_verdict_text(r.verdict));
        if (r.verdict == AUDIT_TAMPERED)
            (void)printf(" at frame %" PRIu64, r.bad_frame);
        (void)printf(" frames=%" PRIu64 " records=%" PRIu64 " unsealed=%" PRIu64 " leaf=%s\n",
                     r.frames, r.records, r.verdict == AUDIT_TAMPERED ? 0 : r.unsealed, hex);
    }
    return 0;
}
