/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libtsk 4.11.1 leaves out of exFAT directory entries (Microsoft exFAT specification, 7.4 File
 * and 7.6 Stream Extension): the valid data length - bytes behind it are zeros by definition, the
 * clusters hold old data - and the UTC offsets of the times.
 *
 * libtsk's address of an object is the place of its File entry.  The Stream Extension entry is the
 * next one in the directory, which at the end of a cluster may lie in another cluster: the next on
 * the volume, or the one that the FAT names.  It is accepted only if it names the first cluster and
 * the size that libtsk found.  Pure decoding; the lock is taken for the questions to libtsk only.
 */
#include "fs/tsk_priv.h"

#include "base/bytes.h"
#include "base/range.h"
#include "fs/civil.h"

#define ENTRY 32u
/* libtsk numbers the 32-byte slots of the cluster heap from 3 on */
#define FIRST_ADDR  3u
#define TYPE_FILE   0x85
#define TYPE_BITMAP 0x81 /* libtsk lists these two as $ALLOC_BITMAP and $UPCASE_TABLE */
#define TYPE_UPCASE 0x82
#define TYPE_STREAM 0xc0

/* 7.4.5 to 7.4.10: DOS date and time, units of 10 ms, offset from UTC in units of 15 minutes. */
static struct fs_time decode_time(uint32_t stamp, unsigned ten_ms, uint8_t utc)
{
    unsigned date = stamp >> 16, day = date & 31, month = date >> 5 & 15;
    unsigned sec = (stamp & 31) * 2, min = stamp >> 5 & 63, hour = stamp >> 11 & 31;
    struct fs_time t = {0};

    if (!day || !month || month > 12 || hour > 23 || min > 59 || sec > 58 || ten_ms > 199)
        return t;
    t.known = true;
    t.sec = fs_days_from_civil(1980 + (int64_t)(date >> 9), month, day) * 86400 + hour * 3600 +
            min * 60 + sec + ten_ms / 100;
    t.nsec = ten_ms % 100 * 10000000u;
    if (utc & 0x80) {
        int quarters = utc & 0x7f;

        t.sec -= (quarters < 64 ? quarters : quarters - 128) * 900;
    }
    return t;
}

/* Is this the Stream Extension that libtsk took the object's metadata from? */
static bool is_our_stream(const uint8_t *e, uint64_t first_cluster, uint64_t size)
{
    return e[0] == TYPE_STREAM && vd_le32(e + 20) == first_cluster && vd_le64(e + 24) == size;
}

int tsk_exfat_geometry(struct blkdev *vol, struct tsk_exfat_geometry *out, struct vd_err *err)
{
    uint8_t b[512] = {0};
    unsigned sector_shift, cluster_shift;
    int rc = vd_prefix(err, blk_read(vol, 0, b, sizeof(b), err), "boot sector");

    if (rc)
        return rc;
    sector_shift = b[108];
    cluster_shift = b[109];
    if (sector_shift < 9 || sector_shift > 12 || cluster_shift > 25 - sector_shift)
        return vd_fail(err, VD_ECORRUPT, "exFAT boot sector: impossible sector or cluster size");
    out->fat_at = (uint64_t)vd_le32(b + 80) << sector_shift;
    out->heap_at = (uint64_t)vd_le32(b + 88) << sector_shift;
    out->n_clusters = vd_le32(b + 92);
    out->cluster_bytes = UINT32_C(1) << (sector_shift + cluster_shift);
    return 0;
}

/* Byte offsets where the Stream Extension may lie; returns how many. */
static unsigned stream_places(struct fs *fs, uint64_t file_at, uint64_t out[2])
{
    const struct tsk_exfat_geometry *g = &((struct tsk_fs *)fs->priv)->exfat;
    uint64_t next_entry = file_at + ENTRY, cluster, fat_at;
    uint8_t raw[4];

    out[0] = next_entry;
    if (file_at < g->heap_at || (next_entry - g->heap_at) % g->cluster_bytes != 0)
        return 1;
    cluster = 2 + (file_at - g->heap_at) / g->cluster_bytes;
    fat_at = g->fat_at + cluster * 4;
    /* a FAT that cannot be read leaves the neighbour on the volume as the only place */
    if (!vd_range_inside(fat_at, sizeof(raw), fs->vol->size) ||
        blk_read(fs->vol, fat_at, raw, sizeof(raw), NULL))
        return 1;
    cluster = vd_le32(raw);
    if (cluster < 2 || cluster - 2 >= g->n_clusters)
        return 1;
    out[1] = g->heap_at + (cluster - 2) * g->cluster_bytes;
    return 2;
}

static uint64_t place_of(const struct tsk_fs *tsk, uint64_t addr)
{
    return tsk->exfat.heap_at + (addr - FIRST_ADDR) * ENTRY;
}

bool tsk_exfat_is_object(struct fs *fs, uint64_t addr)
{
    uint64_t at = addr < FIRST_ADDR ? UINT64_MAX : place_of(fs->priv, addr);
    uint8_t type;

    if (!vd_range_inside(at, ENTRY, fs->vol->size) || blk_read(fs->vol, at, &type, 1, NULL))
        return true;
    return type == TYPE_FILE || type == TYPE_BITMAP || type == TYPE_UPCASE;
}

/* What libtsk knows of the object; lock taken here. */
static int ask_libtsk(struct tsk_fs *tsk, uint64_t addr, uint64_t *out_cluster, uint64_t *out_size,
                      struct vd_err *err)
{
    TSK_FS_FILE *file = NULL;
    int rc;

    (void)pthread_mutex_lock(&tsk->lock);
    rc = tsk_open_object(tsk, addr, &file, err);
    if (!rc) {
        *out_size = (uint64_t)file->meta->size;
        *out_cluster = file->meta->content_ptr ? *(TSK_DADDR_T *)file->meta->content_ptr : 0;
        tsk_fs_file_close(file);
    }
    (void)pthread_mutex_unlock(&tsk->lock);
    return rc;
}

int tsk_exfat_entry(struct fs *fs, uint64_t addr, struct tsk_exfat_entry *out, struct vd_err *err)
{
    struct tsk_fs *tsk = fs->priv;
    uint64_t cluster = 0, size = 0, file_at, places[2];
    uint8_t file[ENTRY], stream[ENTRY];
    unsigned i, n;
    int rc = ask_libtsk(tsk, addr, &cluster, &size, err);

    if (rc)
        return rc;
    if (addr < FIRST_ADDR)
        return vd_fail(err, VD_ENOENT, "no directory entry");
    file_at = place_of(tsk, addr);
    if (!vd_range_inside(file_at, ENTRY, fs->vol->size))
        return vd_fail(err, VD_ECORRUPT, "file entry past the end of the volume");
    rc = vd_prefix(err, blk_read(fs->vol, file_at, file, ENTRY, err), "file entry");
    if (rc)
        return rc;
    if (file[0] == TYPE_BITMAP || file[0] == TYPE_UPCASE) {
        out->is_system = true;
        out->valid_len = size;
        return 0;
    }
    if (file[0] != TYPE_FILE)
        return vd_fail(err, VD_ECORRUPT, "no file entry at %llu", (unsigned long long)file_at);
    out->btime = decode_time(vd_le32(file + 8), file[20], file[22]);
    out->mtime = decode_time(vd_le32(file + 12), file[21], file[23]);
    out->atime = decode_time(vd_le32(file + 16), 0, file[24]);
    n = stream_places(fs, file_at, places);
    for (i = 0; i < n; i++) {
        if (!vd_range_inside(places[i], ENTRY, fs->vol->size))
            continue;
        rc = vd_prefix(err, blk_read(fs->vol, places[i], stream, ENTRY, err), "stream entry");
        if (rc)
            return rc;
        if (is_our_stream(stream, cluster, size)) {
            out->valid_len = vd_le64(stream + 8);
            return 0;
        }
    }
    return vd_fail(err, VD_ECORRUPT, "no stream extension entry after the file entry at %llu",
                   (unsigned long long)file_at);
}
