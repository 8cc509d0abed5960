/* SPDX-License-Identifier: Apache-2.0 */
/* The NTFS boot sector (libyal NTFS, "The volume header").  Pure. */
#include "fs/ntfs/ntfs_priv.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "base/range.h"

#include <string.h>

/* "Clusters per record": a count, or when negative the power of two of the bytes. */
static uint64_t record_bytes(uint8_t raw, uint32_t cluster_size)
{
    int shift = -(int)(int8_t)raw;

    if (raw < 0x80)
        return (uint64_t)raw * cluster_size;
    return shift < 32 ? UINT64_C(1) << shift : 0;
}

int ntfs_boot_decode(const uint8_t *b, struct ntfs_boot *out, struct vd_err *err)
{
    struct ntfs_boot boot = {.sector_size = vd_le16(b + 11)};
    uint64_t sectors_per_cluster = b[13], record, index, bytes, sectors = vd_le64(b + 40);

    if (memcmp(b + 3, "NTFS    ", 8) != 0)
        return vd_fail(err, VD_ENOTFORMAT, "no NTFS signature");
    if (b[13] > 0x80) /* 2^(256 - n) sectors, for clusters over 64 KiB */
        sectors_per_cluster = b[13] >= 0xe0 ? UINT64_C(1) << (256 - b[13]) : 0;
    if (!vd_is_pow2(boot.sector_size) || boot.sector_size < 256 || boot.sector_size > 4096 ||
        !vd_is_pow2(sectors_per_cluster) || sectors_per_cluster * boot.sector_size > (2u << 20))
        return vd_fail(err, VD_ECORRUPT, "boot sector: impossible sector or cluster size");
    boot.cluster_size = (uint32_t)(sectors_per_cluster * boot.sector_size);
    record = record_bytes(b[64], boot.cluster_size);
    index = record_bytes(b[68], boot.cluster_size);
    if (!vd_is_pow2(record) || record < 512 || record > NTFS_MAX_RECORD || !vd_is_pow2(index) ||
        index < 512 || index > (2u << 20))
        return vd_fail(err, VD_ECORRUPT, "boot sector: impossible record size");
    boot.record_size = (uint32_t)record;
    boot.index_size = (uint32_t)index;
    if (!vd_mul(sectors, boot.sector_size, &bytes) || bytes > VD_MAX_SIZE || !sectors)
        return vd_fail(err, VD_ECORRUPT, "boot sector: impossible size");
    boot.n_clusters = sectors / sectors_per_cluster;
    boot.mft_lcn = vd_le64(b + 48);
    boot.mirror_lcn = vd_le64(b + 56);
    boot.serial = vd_le64(b + 72);
    if (boot.mft_lcn >= boot.n_clusters && boot.mirror_lcn >= boot.n_clusters)
        return vd_fail(err, VD_ECORRUPT, "boot sector: the $MFT lies past the end");
    *out = boot;
    return 0;
}
