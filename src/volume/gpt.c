/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GUID partition table: UEFI specification 2.10, section 5.3.
 *
 * Two copies: the primary header in LBA 1, the backup in the last LBA, each with an entry array
 * and CRC-32s over header and array.  A copy is used only if everything about it is right; the
 * primary is preferred.  The backup is looked for where the primary says and at the end of the
 * disk, because a disk that was grown has its backup in the middle.  The sector size is not known
 * for an image, so "EFI PART" is looked for at each possible LBA 1; the header's own my_lba and
 * checksum keep a wrong guess from passing.
 *
 * All numbers are hostile even under a good checksum.  No locks; one scan belongs to one thread.
 */
#include "volume/internal.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/range.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <zlib.h>

#define GPT_HEADER_MIN 92
#define GPT_ENTRY_MIN  128
#define GPT_ENTRY_MAX  4096
#define GPT_NAME_UNITS 36
#define GPT_MAX_SECTOR 4096

#define N_SECTOR_SIZES 4

/* ---- pure decoders ---- */

static uint32_t crc32_of(const uint8_t *bytes, size_t len)
{
    return (uint32_t)crc32_z(0, bytes, len);
}

/* CRC of a header whose own CRC field (16–19) counts as zero. */
static uint32_t header_crc(const uint8_t *bytes, uint32_t size)
{
    static const uint8_t zero[4];
    uLong crc = crc32_z(0, bytes, 16);

    crc = crc32_z(crc, zero, sizeof(zero));
    return (uint32_t)crc32_z(crc, bytes + 20, size - 20);
}

int gpt_header_decode(const uint8_t *bytes, size_t len, struct gpt_header *out, struct vd_err *err)
{
    uint32_t size, crc;

    if (len < GPT_HEADER_MIN || memcmp(bytes, "EFI PART", 8) != 0)
        return vd_fail(err, VD_ENOTFORMAT, "no \"EFI PART\"");
    size = vd_le32(bytes + 12);
    if (size < GPT_HEADER_MIN || size > len)
        return vd_fail(err, VD_ECORRUPT, "header size %" PRIu32 " is not between %d and %zu", size,
                       GPT_HEADER_MIN, len);
    crc = header_crc(bytes, size);
    if (crc != vd_le32(bytes + 16))
        return vd_fail(err, VD_ECORRUPT,
                       "header checksum is wrong (stored %08" PRIx32 ", computed %08" PRIx32 ")",
                       vd_le32(bytes + 16), crc);
    *out = (struct gpt_header){
        .header_size = size,
        .my_lba = vd_le64(bytes + 24),
        .other_lba = vd_le64(bytes + 32),
        .first_usable = vd_le64(bytes + 40),
        .last_usable = vd_le64(bytes + 48),
        .entries_lba = vd_le64(bytes + 72),
        .n_entries = vd_le32(bytes + 80),
        .entry_size = vd_le32(bytes + 84),
        .array_crc = vd_le32(bytes + 88),
    };
    memcpy(out->disk_guid, bytes + 56, 16);
    return 0;
}

int gpt_header_validate(const struct gpt_header *h, uint64_t lba, uint32_t sector_size,
                        uint64_t disk_bytes, struct vd_err *err)
{
    uint64_t off, len;

    if (h->my_lba != lba)
        return vd_fail(err, VD_ECORRUPT, "header says that it lies at LBA %" PRIu64, h->my_lba);
    if (h->entry_size < GPT_ENTRY_MIN || h->entry_size > GPT_ENTRY_MAX || h->entry_size % 8)
        return vd_fail(err, VD_ECORRUPT,
                       "entry size %" PRIu32 " is not a multiple of 8 between %d and %d",
                       h->entry_size, GPT_ENTRY_MIN, GPT_ENTRY_MAX);
    len = (uint64_t)h->n_entries * h->entry_size; /* 2^32 * 2^12: cannot wrap */
    if (!vd_mul(h->entries_lba, sector_size, &off) || !vd_range_inside(off, len, disk_bytes))
        return vd_fail(err, VD_ECORRUPT,
                       "%" PRIu32 " entries of %" PRIu32 " bytes at LBA %" PRIu64
                       " pass the end of the disk",
                       h->n_entries, h->entry_size, h->entries_lba);
    return 0;
}

bool gpt_entry_decode(const uint8_t *bytes, struct gpt_entry *out)
{
    *out = (struct gpt_entry){
        .first = vd_le64(bytes + 32),
        .last = vd_le64(bytes + 40),
        .attributes = vd_le64(bytes + 48),
        .name = bytes + 56,
    };
    memcpy(out->type, bytes, 16);
    memcpy(out->uuid, bytes + 16, 16);
    while (out->name_units < GPT_NAME_UNITS && vd_le16(out->name + 2 * out->name_units))
        out->name_units++;
    return !vd_all_zero(out->type, 16);
}

/* ---- reading one copy ---- */

/* The header's sector, from memory where it is there. */
static int read_sector(struct scan *s, uint64_t off, uint32_t len, uint8_t *buf, struct vd_err *err)
{
    if (off < SCAN_HEAD && scan_head_has(s, off, len)) {
        memcpy(buf, s->head + off, len);
        return 0;
    }
    return blk_read(s->disk, off, buf, len, err);
}

/* Reads and checks the entry array of a copy whose header passed. */
static int read_array(struct scan *s, struct gpt_copy *copy, struct vd_err *err)
{
    const struct gpt_header *h = &copy->h;
    uint64_t total = (uint64_t)h->n_entries * h->entry_size;
    size_t len;
    int rc;

    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): gpt_header_validate asks for 128 or more */
    copy->n_read = vd_min(total, VD_MAX_GPT_ARRAY) / h->entry_size;
    len = copy->n_read * h->entry_size;
    copy->array_cut = len < total;
    copy->array = malloc(len ? len : 1);
    if (!copy->array)
        return vd_fail(err, VD_ENOMEM, "GPT entries: out of memory");
    rc = blk_read(s->disk, h->entries_lba * copy->sector_size, copy->array, len, err);
    if (rc)
        return vd_prefix(err, rc, "entries");
    if (!copy->array_cut && crc32_of(copy->array, len) != h->array_crc)
        return vd_fail(err, VD_ECORRUPT,
                       "checksum of the entries is wrong (stored %08" PRIx32 ", computed %08" PRIx32
                       ")",
                       h->array_crc, crc32_of(copy->array, len));
    return 0;
}

static int check_copy(struct scan *s, struct gpt_copy *copy, struct vd_err *err)
{
    uint8_t sector[GPT_MAX_SECTOR];
    uint64_t off;
    int rc;

    if (!vd_mul(copy->lba, copy->sector_size, &off) ||
        !vd_range_inside(off, copy->sector_size, s->disk->size))
        return vd_fail(err, VD_ECORRUPT, "lies past the end of the disk");
    rc = read_sector(s, off, copy->sector_size, sector, err);
    if (rc)
        return rc;
    copy->seen = memcmp(sector, "EFI PART", 8) == 0;
    rc = gpt_header_decode(sector, copy->sector_size, &copy->h, err);
    if (rc)
        return rc;
    copy->header_ok = true;
    rc = gpt_header_validate(&copy->h, copy->lba, copy->sector_size, s->disk->size, err);
    return rc ? rc : read_array(s, copy, err);
}

/* Fills *copy with what stands at `lba`.  Fails only with what a scan does not survive. */
static int read_copy(struct scan *s, uint32_t sector_size, uint64_t lba, struct gpt_copy *copy,
                     struct vd_err *err)
{
    struct vd_err local = VD_ERR_INIT;
    int rc;

    free(copy->array);
    *copy = (struct gpt_copy){.sector_size = sector_size, .lba = lba};
    rc = check_copy(s, copy, &local);
    copy->valid = rc == 0;
    if (rc == 0)
        return 0;
    free(copy->array);
    copy->array = NULL;
    copy->n_read = 0;
    if (!scan_survives(rc)) {
        if (err)
            *err = local;
        return rc;
    }
    vd_text_copy(copy->why, sizeof(copy->why), local.msg);
    return 0;
}

/* ---- finding both ---- */

/* The disk's own sector size first, then the usual ones. */
static void sector_sizes(const struct blkdev *disk, uint32_t out[N_SECTOR_SIZES])
{
    static const uint32_t usual[N_SECTOR_SIZES] = {512, 4096, 1024, 2048};
    size_t i, n = 0;

    for (i = 0; i < N_SECTOR_SIZES; i++)
        if (usual[i] == disk->sector_size)
            out[n++] = usual[i];
    for (i = 0; i < N_SECTOR_SIZES; i++)
        if (usual[i] != disk->sector_size)
            out[n++] = usual[i];
}

static void move_copy(struct gpt_copy *to, struct gpt_copy *from)
{
    free(to->array);
    *to = *from;
    from->array = NULL;
}

/* The first sector size whose LBA 1 holds a valid primary; else the first where one is seen. */
static int find_primary(struct scan *s, const uint32_t sizes[N_SECTOR_SIZES],
                        struct gpt_found *found, struct vd_err *err)
{
    size_t i;
    int rc = 0;

    for (i = 0; i < N_SECTOR_SIZES && !rc; i++) {
        struct gpt_copy copy = {0};

        rc = read_copy(s, sizes[i], 1, &copy, err);
        found->n_valid_primaries += copy.valid;
        if (i == 0 || (copy.valid && !found->primary.valid) || (copy.seen && !found->primary.seen))
            move_copy(&found->primary, &copy);
        free(copy.array);
    }
    return rc;
}

/* Looks at the end of the disk for sectors of this size, then where the primary says. */
static int find_backup_at(struct scan *s, uint32_t sector_size, const struct gpt_copy *primary,
                          struct gpt_copy *out, struct vd_err *err)
{
    uint64_t n_sectors = s->disk->size / sector_size;
    struct gpt_copy first = {0};
    bool has_pointer = primary->header_ok && primary->sector_size == sector_size;
    uint64_t pointer = has_pointer ? primary->h.other_lba : 0;
    int rc;

    if (n_sectors < 2)
        return 0;
    /* a header without a good checksum may still point the right way: the backup proves itself */
    if (!has_pointer && primary->seen && primary->sector_size == sector_size) {
        size_t field = (size_t)sector_size + 32;

        if (scan_head_has(s, field, 8))
            pointer = vd_le64(s->head + field);
    }
    rc = read_copy(s, sector_size, pointer > 1 ? pointer : n_sectors - 1, out, err);
    if (rc || out->valid || pointer <= 1 || pointer == n_sectors - 1)
        return rc;
    move_copy(&first, out);
    rc = read_copy(s, sector_size, n_sectors - 1, out, err);
    if (!out->valid && !out->seen)
        move_copy(out, &first); /* its reason is the more telling one */
    free(first.array);
    return rc;
}

static int find_backup(struct scan *s, const uint32_t sizes[N_SECTOR_SIZES],
                       struct gpt_found *found, struct vd_err *err)
{
    struct gpt_copy *primary = &found->primary;
    size_t i;
    int rc;

    rc = find_backup_at(s, primary->sector_size, primary, &found->backup, err);
    if (primary->valid)
        return rc;
    for (i = 0; i < N_SECTOR_SIZES && !rc && !found->backup.valid; i++) {
        struct gpt_copy copy = {0};

        if (sizes[i] == primary->sector_size)
            continue;
        rc = find_backup_at(s, sizes[i], primary, &copy, err);
        if (copy.valid || (copy.seen && !found->backup.seen))
            move_copy(&found->backup, &copy);
        free(copy.array);
    }
    return rc;
}

int gpt_find(struct scan *s, struct gpt_found *out, struct vd_err *err)
{
    uint32_t sizes[N_SECTOR_SIZES];
    int rc;

    *out = (struct gpt_found){0};
    sector_sizes(s->disk, sizes);
    rc = find_primary(s, sizes, out, err);
    if (!rc)
        rc = find_backup(s, sizes, out, err);
    if (rc) {
        gpt_found_clear(out);
        return vd_prefix(err, rc, "GPT");
    }
    /* a copy whose array is too large to check yields to one that was checked */
    out->primary_used = out->primary.valid &&
                        !(out->primary.array_cut && out->backup.valid && !out->backup.array_cut);
    out->usable = out->primary.valid || out->backup.valid;
    return 0;
}

void gpt_found_clear(struct gpt_found *found)
{
    free(found->primary.array);
    free(found->backup.array);
    *found = (struct gpt_found){0};
}

/* ---- what is said about the copies ---- */

void gpt_warn_dead(struct scan *s, const struct gpt_found *found)
{
    scan_warn(s, SCAN_GPT_PRIMARY, "primary GPT (LBA %" PRIu64 ", %" PRIu32 "-byte sectors): %s",
              found->primary.lba, found->primary.sector_size, found->primary.why);
    if (found->backup.why[0])
        scan_warn(s, SCAN_GPT_BACKUP, "backup GPT (LBA %" PRIu64 ", %" PRIu32 "-byte sectors): %s",
                  found->backup.lba, found->backup.sector_size, found->backup.why);
}

static void warn_disagreement(struct scan *s, const struct gpt_found *found)
{
    const struct gpt_header *p = &found->primary.h, *b = &found->backup.h;
    const char *used = found->primary_used ? "primary" : "backup";

    if (p->array_crc != b->array_crc || p->n_entries != b->n_entries ||
        p->entry_size != b->entry_size)
        scan_warn(s, SCAN_GPT,
                  "primary and backup GPT are both intact but list different partitions: the %s "
                  "is used",
                  used);
    if (memcmp(p->disk_guid, b->disk_guid, 16) != 0)
        scan_warn(s, SCAN_GPT, "primary and backup GPT give different disk GUIDs: the %s is used",
                  used);
    if (p->first_usable != b->first_usable || p->last_usable != b->last_usable ||
        b->other_lba != found->primary.lba)
        scan_warn(s, SCAN_GPT,
                  "primary and backup GPT disagree about the usable area or about each other's "
                  "place: the %s is used",
                  used);
}

static void warn_copies(struct scan *s, const struct gpt_found *found)
{
    const struct gpt_copy *used = found->primary_used ? &found->primary : &found->backup;
    uint64_t last_lba = s->disk->size / used->sector_size - 1;

    if (!found->primary.valid)
        scan_warn(s, SCAN_GPT_PRIMARY,
                  "the primary GPT is not usable (%s): the backup at LBA %" PRIu64 " is used",
                  found->primary.why, found->backup.lba);
    else if (!found->backup.valid)
        scan_warn(s, SCAN_GPT_BACKUP, "the backup GPT (LBA %" PRIu64 ") is not usable: %s",
                  found->backup.lba, found->backup.why);
    else
        warn_disagreement(s, found);
    if (found->backup.valid && found->backup.lba != last_lba)
        scan_warn(s, SCAN_GPT_BACKUP,
                  "the backup GPT is at LBA %" PRIu64 ", the disk ends at LBA %" PRIu64
                  ": the disk was enlarged after it was partitioned",
                  found->backup.lba, last_lba);
    if (found->primary.valid && found->backup.valid &&
        found->primary.h.other_lba != found->backup.lba)
        scan_warn(s, SCAN_GPT_BACKUP,
                  "the primary GPT says that the backup is at LBA %" PRIu64
                  ", it was found at LBA %" PRIu64,
                  found->primary.h.other_lba, found->backup.lba);
    if (found->n_valid_primaries > 1)
        scan_warn(s, SCAN_GPT,
                  "valid GPTs were found for %u sector sizes: the one for %" PRIu32
                  "-byte sectors is used",
                  found->n_valid_primaries, used->sector_size);
    if (used->array_cut)
        scan_warn(s, SCAN_LIMIT,
                  "the GPT has %" PRIu32 " entries of %" PRIu32
                  " bytes: only the first %zu are read, and the checksum of the entries is not "
                  "checked",
                  used->h.n_entries, used->h.entry_size, used->n_read);
}

/* ---- partitions ---- */

static void fill_volume(const struct gpt_entry *e, struct volume *v)
{
    char text[4 * GPT_NAME_UNITS + 1];
    size_t len;

    v->active = e->attributes >> 2 & 1; /* legacy BIOS bootable */
    volume_guid_text(e->type, v->type);
    volume_guid_text(e->uuid, v->uuid);
    (void)snprintf(v->type_name, sizeof(v->type_name), "%s", volume_gpt_type_name(v->type));
    len = vd_utf16_to_utf8(e->name, e->name_units, false, text, sizeof(text), NULL);
    vd_text_printable(text, len, v->name, sizeof(v->name));
}

static int add_gpt_entry(struct scan *s, const struct gpt_header *h, const struct gpt_entry *e,
                         unsigned number, struct vd_err *err)
{
    struct volume v = {.number = number};

    if (e->first > e->last || e->last == UINT64_MAX) {
        scan_warn(s, SCAN_GPT,
                  "partition %u is not shown: it goes from LBA %" PRIu64 " to LBA %" PRIu64, number,
                  e->first, e->last);
        return 0;
    }
    if (e->first < h->first_usable || e->last > h->last_usable)
        scan_warn(s, SCAN_GPT,
                  "partition %u (LBA %" PRIu64 " to %" PRIu64
                  ") is not inside the area that the GPT calls usable (%" PRIu64 " to %" PRIu64 ")",
                  number, e->first, e->last, h->first_usable, h->last_usable);
    fill_volume(e, &v);
    if (strncmp(v.type, "5808c8aa-", 9) == 0 || strncmp(v.type, "af9b60a0-", 9) == 0)
        scan_warn(s, SCAN_FOREIGN,
                  "partition %u belongs to a Windows dynamic disk (LDM), whose volumes are not "
                  "read by this version",
                  number);
    return scan_add(s, &v, e->first, e->last - e->first + 1, err);
}

bool gpt_has(const struct gpt_found *found, uint64_t first_lba, uint64_t n_lba)
{
    const struct gpt_copy *used = found->primary_used ? &found->primary : &found->backup;
    size_t i;

    for (i = 0; i < used->n_read; i++) {
        struct gpt_entry e;

        if (gpt_entry_decode(used->array + i * used->h.entry_size, &e) && e.first == first_lba &&
            e.last - e.first == n_lba - 1)
            return true;
    }
    return false;
}

int gpt_scan(struct scan *s, const struct gpt_found *found, struct vd_err *err)
{
    const struct gpt_copy *used = found->primary_used ? &found->primary : &found->backup;
    size_t i;

    s->table->scheme = VOLUME_GPT;
    s->table->sector_size = used->sector_size;
    volume_guid_text(used->h.disk_guid, s->table->disk_id);
    warn_copies(s, found);
    for (i = 0; i < used->n_read; i++) {
        struct gpt_entry e;
        int rc;

        if (!gpt_entry_decode(used->array + i * used->h.entry_size, &e))
            continue;
        rc = add_gpt_entry(s, &used->h, &e, (unsigned)i + 1, err);
        if (rc)
            return rc;
    }
    return 0;
}
