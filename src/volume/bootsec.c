/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the first sector of a disk is, if it is not a partition table: the boot sector of a file
 * system (Microsoft FAT specification 1.03, exFAT specification 7.1, NTFS as documented by the
 * Linux-NTFS project, BitLocker as by libbde), or a label of another system.
 *
 * A FAT or NTFS boot sector carries the same 55 AA as an MBR, so the name alone decides nothing:
 * the BIOS parameter block behind it must make sense as well.  Pure functions, any thread.
 */
#include "volume/internal.h"

#include "base/bytes.h"
#include "base/range.h"

/* BIOS parameter block: bytes per sector and sectors per cluster are sane. */
static bool bpb_units_ok(const uint8_t *s)
{
    uint16_t bytes = vd_le16(s + 11);

    return vd_is_pow2(bytes) && bytes >= 512 && bytes <= 4096 && vd_is_pow2(s[13]);
}

/* FAT12/16/32.  The eight bytes at 3 may be anything, the numbers may not. */
static bool is_fat(const uint8_t *s)
{
    uint16_t root_entries = vd_le16(s + 17), total16 = vd_le16(s + 19), fat16 = vd_le16(s + 22);
    uint32_t total = total16 ? total16 : vd_le32(s + 32);
    uint64_t fat_sectors = fat16 ? fat16 : vd_le32(s + 36), used;
    uint8_t media = s[21];

    if (s[0] != 0xeb && s[0] != 0xe9)
        return false;
    if (!bpb_units_ok(s) || !vd_le16(s + 14) || s[16] == 0 || s[16] > 4)
        return false;
    if (media != 0xf0 && media < 0xf8)
        return false;
    if (fat_sectors == 0 || (fat16 && !root_entries))
        return false;
    used = vd_le16(s + 14) + fat_sectors * s[16] +
           vd_div_up((uint64_t)root_entries * 32, vd_le16(s + 11));
    return used < total;
}

static bool is_ntfs(const uint8_t *s)
{
    uint16_t bytes = vd_le16(s + 11);
    uint8_t per_cluster = s[13];

    if (memcmp(s + 3, "NTFS    ", 8) != 0 || !vd_is_pow2(bytes) || bytes < 256 || bytes > 4096)
        return false;
    /* above 0x80 it is a negative power of two (clusters over 64 KiB) */
    return (vd_is_pow2(per_cluster) || per_cluster >= 0xe1) && vd_le64(s + 40) != 0;
}

static bool is_exfat(const uint8_t *s)
{
    /* 53 bytes that must be zero keep old FAT drivers away */
    return memcmp(s + 3, "EXFAT   ", 8) == 0 && vd_all_zero(s + 11, 53) && s[108] >= 9 &&
           s[108] <= 12;
}

bool bootsec_is_bitlocker(const uint8_t s[512])
{
    static const uint8_t to_go[16] = {0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a,
                                      0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01};

    if (memcmp(s + 3, "-FVE-FS-", 8) == 0)
        return true;
    return memcmp(s + 3, "MSWIN4.1", 8) == 0 && memcmp(s + 424, to_go, sizeof(to_go)) == 0;
}

const char *bootsec_file_system(const uint8_t s[512])
{
    if (bootsec_is_bitlocker(s))
        return "BitLocker";
    if (is_ntfs(s))
        return "NTFS";
    if (is_exfat(s))
        return "exFAT";
    if (memcmp(s + 3, "ReFS\0\0\0\0", 8) == 0)
        return "ReFS";
    return is_fat(s) ? "FAT" : NULL;
}

bool bootsec_is_bsd_label(const uint8_t *p, size_t len)
{
    return len >= 136 && vd_le32(p) == 0x82564557 && vd_le32(p + 132) == 0x82564557;
}

/* Inside Macintosh: Devices, 3-12.  The map starts at block 1; the driver descriptor in block 0
 * gives the block size, and CD images have further maps at 512. */
static bool is_apple_map(const uint8_t *head, size_t len)
{
    size_t block = 512;

    if (len >= 4 && vd_be16(head) == 0x4552 && vd_is_pow2(vd_be16(head + 2)) &&
        vd_be16(head + 2) >= 512)
        block = vd_be16(head + 2);
    if (block + 8 <= len && vd_be32(head + block) == 0x504d0000 && vd_be32(head + block + 4))
        return true;
    return len >= 520 && vd_be32(head + 512) == 0x504d0000 && vd_be32(head + 516);
}

const char *bootsec_foreign_label(const uint8_t *head, size_t len)
{
    if (is_apple_map(head, len))
        return "Apple partition map";
    if (len > 512 && bootsec_is_bsd_label(head + 512, len - 512))
        return "BSD disklabel";
    if (len > 64 && bootsec_is_bsd_label(head + 64, len - 64)) /* Alpha puts it into sector 0 */
        return "BSD disklabel";
    if (len >= 4 && vd_be32(head) == 0xc9c2d4c1) /* "IBMA" in EBCDIC */
        return "AIX label";
    return NULL;
}
