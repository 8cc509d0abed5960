/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier's look into ring.wal.  The input is laid over a ring of 256 empty slots: first byte
 * bit 0, over its header too; bit 1, CRCs of records are made right.  The next two bytes are the
 * sequence number from which unsealed records are counted.
 */
#include "audit/verify_ring.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "vdiskfs/audit_format.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS 256

static char dir[64];
static int dir_fd = -1;

static void remove_dir(void)
{
    (void)unlinkat(dir_fd, "ring.wal", 0);
    (void)rmdir(dir);
}

static int make_dir(void)
{
    (void)snprintf(dir, sizeof(dir), "%s/vdiskfs-test-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir))
        abort();
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)atexit(remove_dir);
    return dir_fd;
}

static void fix_crcs(uint8_t *slots)
{
    size_t i;

    for (i = 0; i < SLOTS; i++) {
        uint8_t *r = slots + i * AUDIT_SLOT;
        size_t n = AUDIT_SLOT * (1u + r[AUDIT_R_EXT]);

        if (n <= (SLOTS - i) * AUDIT_SLOT)
            vd_put_le32(r + AUDIT_R_CRC, vd_crc32c_without(r, n, AUDIT_R_CRC));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[AUDIT_RING_HEADER + SLOTS * AUDIT_SLOT];
    struct audit_report r = {0};
    struct vd_err err = VD_ERR_INIT;
    size_t at, n;
    int fd;

    if (size < 3 || (dir_fd < 0 && make_dir() < 0))
        return 0;
    memset(file, 0, sizeof(file));
    memcpy(file + AUDIT_W_MAGIC, AUDIT_RING_MAGIC, 4);
    vd_put_le16(file + AUDIT_W_VERSION, AUDIT_VERSION);
    vd_put_le16(file + AUDIT_W_SLOT, AUDIT_SLOT);
    vd_put_le64(file + AUDIT_W_SLOTS, SLOTS);
    at = data[0] & 1 ? 0 : AUDIT_RING_HEADER;
    n = size - 3 < sizeof(file) - at ? size - 3 : sizeof(file) - at;
    memcpy(file + at, data + 3, n);
    if (data[0] & 2)
        fix_crcs(file + AUDIT_RING_HEADER);
    fd = openat(dir_fd, "ring.wal", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, file, sizeof(file), 0) != (ssize_t)sizeof(file))
        abort();
    (void)close(fd);
    if (ring_scan(dir_fd, vd_le16(data + 1), &r, &err))
        abort(); /* it can be read: there is an answer */
    if (r.unsealed + r.unfinished > SLOTS || r.has_ring == (r.reason[0] != '\0'))
        abort();
    return 0;
}
