/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound on what an image can make grow, with the arithmetic behind it.  A decoder that
 * meets a larger value refuses with VD_ELIMIT and names the bound. */
#ifndef VD_BASE_LIMITS_H
#define VD_BASE_LIMITS_H

#include <stdint.h>

/* Largest disk, volume or file that is shown: off_t is signed. */
#define VD_MAX_SIZE ((uint64_t)INT64_MAX)

/* Members of one chain: a base and 1,024 children, the design's bound.  VMware stops at 32 and
 * Hyper-V at 50 checkpoints; real cases of a few hundred exist. */
#define VD_MAX_CHAIN 1025

/* What all members of a chain together may keep in memory: 32 MiB of allocation tables that come and
 * go (16,384 of 2 KiB: 16 tables of each of 1,024 members), 64 MiB of inflated blocks, 64 MiB of
 * tables and directories kept whole (64 KiB for each of 1,024 members, which is 512 GiB of disk in
 * VMDK). */
#define VD_CHAIN_TABLES_BYTES (32u << 20)
#define VD_CHAIN_BLOCKS_BYTES (64u << 20)
#define VD_CHAIN_KEEP_BYTES   (64u << 20)

/* VHDX logs of all members, replayed in memory: one of VD_MAX_VHDX_LOG, or 80 of the usual 1 MiB.  Only
 * the newest member of an honest chain has one. */
#define VD_CHAIN_LOG_BYTES (80u << 20)

/* What opening all of them may look at beyond what it needs: directory entries and tables checked,
 * about a tenth of a second together. */
#define VD_CHAIN_SCAN_BYTES  (64u << 20)
#define VD_CHAIN_CHECK_BYTES (64u << 20)

/* Evidence files of one chain, extents included: 2 GiB extents of a 62 TiB disk are 31,744. */
#define VD_MAX_EVIDENCE 65536

/* Extents of one VMDK descriptor: 62 TiB (VMware's maximum) in 2 GiB pieces = 31,744. */
#define VD_MAX_EXTENTS 32768

/* VMDK descriptor text.  20 sectors in practice, 1 MiB is what OpenStack's inspector allows; an
 * external descriptor of 31,744 extent lines of ~60 bytes needs 1.9 MiB. */
#define VD_MAX_DESCRIPTOR (4u << 20)

/* Grain directory of one sparse extent, bytes.  A hosted extent of 64 TiB with the usual 64 KiB
 * grains and 512 entries a table has 2,097,152 entries of 4 bytes = 8 MiB; 4 KiB grains reach the
 * bound at 32 TiB. */
#define VD_MAX_GRAIN_DIR (64u << 20)

/* One grain, inflated.  VMware uses 64 KiB; 2 MiB covers every producer known and keeps the
 * memory of a bomb small. */
#define VD_MAX_GRAIN (2u << 20)

/* Grains of a stream-optimized VMDK that is put together again from its markers: 8 bytes each,
 * 64 MiB; with the usual 64 KiB grains 512 GiB of data. */
#define VD_MAX_STREAM_GRAINS (8u << 20)

/* Tables met in such a stream (32 bytes each, 32 MiB; of 512 entries: 32 TiB of disk), and grains that
 * contradict a table (8 bytes each): more than a few mean that nothing there can be trusted. */
#define VD_MAX_STREAM_TABLES (1u << 20)
#define VD_MAX_STREAM_CLAIMS (1u << 20)

/* Entries of one VMDK grain table.  The specification and every producer known have 512, ESX
 * redo logs 4,096. */
#define VD_MAX_GRAIN_TABLE 4096

/* VHD block-allocation table: 2,040 GiB in 2 MiB blocks = 1,044,480 entries of 4 bytes = 4 MiB;
 * 512 KiB blocks make it 16 MiB. */
#define VD_MAX_VHD_BAT (64u << 20)

/* VHDX: 64 TiB in 1 MiB blocks = 67,108,864 payload entries (+1 bitmap entry per chunk of 4096)
 * of 8 bytes = 513 MiB.  The table is therefore read in pieces, never whole; this bounds one
 * piece. */
#define VD_MAX_VHDX_BAT_PIECE (64u << 10)

/* VHDX log that is replayed, held in memory while opening.  Hyper-V and qemu write 1 MiB; the field
 * could say 4 GiB. */
#define VD_MAX_VHDX_LOG (64u << 20)

/* Partitions shown for one disk.  Linux stops at 256 minors, GPT at 128 by convention; the table
 * itself may say 2^32. */
#define VD_MAX_PARTITIONS 1024

/* Bytes of a GPT entry array that are read: 1,024 entries of up to 4,096 bytes. */
#define VD_MAX_GPT_ARRAY (4u << 20)

/* Names read from one evidence directory when searching for a parent by identity. */
#define VD_MAX_DIR_NAMES 65536

/* Longest name FUSE passes through: FUSE_NAME_MAX of the kernel is 1,024.  NTFS's 255 UTF-16 units
 * are at most 765 bytes, escaped at most 2,295: longer than this bound such a name is cut and
 * ends in ~ADDRESS. */
#define VD_MAX_NAME 1024

/* Entries of one directory: above this the listing fails with a clear error instead of memory. */
#define VD_MAX_DIR_ENTRIES (16u << 20)

/* Facts and warnings that one mount keeps. */
#define VD_MAX_FACTS 4096

#endif
