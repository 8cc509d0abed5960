/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log on disk, version 1.  EVERY change here must be made in docs/formats/audit-log.md
 * as well: that document alone must be enough to write a verifier.
 *
 * All numbers are little-endian.
 *
 *   record   64 bytes + n_ext × 64 bytes of payload
 *   frame    header (AUDIT_FRAME_HEADER bytes) + records, at most 65,535 bytes
 *   leaf     SHA-256(0x00 ‖ frame): RFC 6962 leaf hash, and the link in the next frame's header
 *   segment  NNNNNN.vlog: frames one after the other, nothing else
 *   ring     ring.wal: records that are not sealed yet; gone once the log is closed
 */
#ifndef VDISKFS_AUDIT_FORMAT_H
#define VDISKFS_AUDIT_FORMAT_H

#include <stdint.h>

#define AUDIT_VERSION      1
#define AUDIT_SLOT         64
#define AUDIT_MAX_EXT      255
#define AUDIT_MAX_PAYLOAD  16320 /* AUDIT_MAX_EXT slots */
#define AUDIT_MAX_FRAME    65535
#define AUDIT_MAX_MERGED   1020 /* reads in one record: the slots of a frame */
#define AUDIT_FRAME_MAGIC  "VDAF"
#define AUDIT_FRAME_HEADER 192

/* Record: offsets of the fields in its first slot. */
enum audit_record_field {
    AUDIT_R_COMMIT = 0,  /* u64 sequence number + 1.  Counts slots: the next record's number is
                             this one's + 1 + n_ext, after a merged one + AUDIT_T_SPAN's count */
    AUDIT_R_REAL = 8,    /* i64 ns since 1970-01-01 UTC */
    AUDIT_R_MONO = 16,   /* u64 ns, CLOCK_BOOTTIME */
    AUDIT_R_OBJ = 24,    /* u64 node number (inode number in the mount), 0 = none */
    AUDIT_R_OFF = 32,    /* u64 bytes */
    AUDIT_R_LEN = 40,    /* u64 bytes: of a read, what left the program */
    AUDIT_R_PROC = 48,   /* u32 id of an AUDIT_PROC record, 0 = the program itself */
    AUDIT_R_RESULT = 52, /* i32 0 or negative errno */
    AUDIT_R_OP = 56,     /* u16 enum audit_op */
    AUDIT_R_EXT = 58,    /* u8 payload slots that follow */
    AUDIT_R_FLAGS = 59,  /* u8 AUDIT_F_* */
    AUDIT_R_CRC = 60     /* u32 CRC-32C of the record and its payload with this field zero */
};

/* Payload: fields {u8 tag, u8 0, u16 length, bytes}, padded with zero bytes; tag 0 ends it. */

/* Frame header: offsets. */
enum audit_frame_field {
    AUDIT_H_MAGIC = 0,      /* "VDAF" */
    AUDIT_H_VERSION = 4,    /* u16 */
    AUDIT_H_HEADER = 6,     /* u16 bytes of this header */
    AUDIT_H_LENGTH = 8,     /* u32 bytes of the whole frame */
    AUDIT_H_FLAGS = 12,     /* u32 AUDIT_FRAME_* */
    AUDIT_H_FRAME_NO = 16,  /* u64, 0, 1, 2 … over the whole session */
    AUDIT_H_FIRST_SEQ = 24, /* u64 sequence number of the first record */
    AUDIT_H_SLOTS = 32,     /* u32 slots in this frame */
    AUDIT_H_RECORDS = 36,   /* u32 records in this frame */
    AUDIT_H_TOTAL = 40,     /* u64 records in all frames up to and with this one */
    AUDIT_H_T_FIRST = 48,   /* i64 ns, smallest AUDIT_R_REAL of the records */
    AUDIT_H_T_LAST = 56,    /* i64 ns, largest; of a merged record its latest one */
    AUDIT_H_EPOCH = 64,     /* u32 key epoch, from 1 */
    AUDIT_H_SEGMENT = 68,   /* u32 number of the segment file that holds this frame */
    AUDIT_H_SESSION = 72,   /* 16 bytes, UUID of the session */
    AUDIT_H_CRC = 88,       /* u32 CRC-32C of the header with this field zero */
    AUDIT_H_RESERVED = 92,  /* 4 bytes, zero */
    AUDIT_H_PREV = 96,      /* 32 bytes, leaf hash of the frame before; zero in frame 0 */
    AUDIT_H_KEY = 128,      /* 32 bytes, Ed25519 public key of the epoch */
    AUDIT_H_NEXT = 160 /* 32 bytes, the next epoch's key when this frame ends its epoch, else 0 */
};

#define AUDIT_FRAME_CLOSE     (1u << 0) /* holds the close record; no frame may follow */
#define AUDIT_FRAME_HEARTBEAT (1u << 1) /* no records: nothing happened; T_FIRST = T_LAST = when */
#define AUDIT_FRAME_RECOVERED (1u << 2) /* first of a recovery: a key of its own, after a crash */

/* Files beside the segments. */
#define AUDIT_CHECKPOINTS "checkpoints" /* signed notes, one after the other */
#define AUDIT_KEY_FILE    "key.pub"     /* key of the first epoch, "NAME+ID+BASE64" */
#define AUDIT_ORIGIN      "vdiskfs/"    /* + UUID: origin of the notes and name of the keys */

/* Ring file: a header of AUDIT_RING_HEADER bytes, then the slots.  The slot of sequence number s is
 * s modulo the number of slots.  The first 8 bytes of a slot that holds nothing are zero. */
#define AUDIT_RING_MAGIC  "VDAR"
#define AUDIT_RING_HEADER 4096

/* Offsets in the ring's header.  What follows them up to AUDIT_RING_HEADER is working state of the
 * running program and means nothing afterwards. */
enum audit_ring_field {
    AUDIT_W_MAGIC = 0,    /* "VDAR" */
    AUDIT_W_VERSION = 4,  /* u16 AUDIT_VERSION */
    AUDIT_W_SLOT = 6,     /* u16 AUDIT_SLOT */
    AUDIT_W_SLOTS = 8,    /* u64 number of slots, a power of two */
    AUDIT_W_SESSION = 16, /* 16 bytes, UUID of the session */
    AUDIT_W_MOUNT = 32,   /* u32 major, u32 minor of the mount's device; 0, 0: not yet mounted */
    AUDIT_W_PLACE = 2048, /* mount point, to the end of the header, NUL-terminated */
    AUDIT_W_STATE = 64    /* working state from here */
};

/* First 8 bytes of a slot whose record is being written: this bit and the number of payload slots.
 * A slot whose record is complete holds its sequence number + 1 (AUDIT_R_COMMIT). */
#define AUDIT_RING_CLAIMED (UINT64_C(1) << 63)

/* Operations.  Numbers are stable; new ones are added at the end of their block. */
enum audit_op {
    AUDIT_NONE = 0,
    /* the session */
    AUDIT_SESSION_OPEN = 1,  /* who, what, with which tool: the first record of every log */
    AUDIT_OPTION = 2,        /* one option in force: TEXT "name=value" */
    AUDIT_EVIDENCE = 3,      /* one evidence file opened: NAME, identity fields, LEN = size */
    AUDIT_FACT = 4,          /* one thing found while opening: NAME = layer, KEY, TEXT */
    AUDIT_WARNING = 5,       /* as FACT, but to be noticed */
    AUDIT_MOUNTED = 6,       /* PATH = mount point, TEXT = options in force */
    AUDIT_SESSION_CLOSE = 7, /* the last record; RESULT, TEXT = reason, LEN = AUDIT_LOST records */
    AUDIT_WORKER_DIED = 8,   /* TEXT = signal or exit code */
    AUDIT_EVIDENCE_CHANGED = 9,
    AUDIT_POLICY = 10,
    AUDIT_LOST = 11, /* slots that a process claimed and died before completing: no answer
                                was sent for them.  LEN = slots, this record's own; TEXT = why */
    AUDIT_RECOVERED =
        12, /* first record after a crash: OFF = first sequence number recovered, LEN =
                             records recovered, TEXT = by whom and what was found */
    AUDIT_EVIDENCE_HASH = 13, /* hash_inputs: NAME, identity fields when it began, LEN = size, OFF =
                                 bytes hashed; RESULT 0: SHA256, else TEXT = why there is none */
    AUDIT_PROC = 16, /* OFF = process id to be used in PROC of later records; PID, …, EXE */
    /* accesses; OBJ = node, PATH = where in the mount */
    AUDIT_LOOKUP = 32, /* OBJ = directory, NAME; OFF = node found */
    AUDIT_GETATTR = 33,
    AUDIT_READLINK = 34,
    AUDIT_OPEN = 35,
    AUDIT_READ = 36, /* OFF, LEN = what left the program */
    AUDIT_RELEASE = 37,
    AUDIT_OPENDIR = 38,
    AUDIT_READDIR = 39, /* OFF = cookie, LEN = entries that left the program */
    AUDIT_RELEASEDIR = 40,
    AUDIT_GETXATTR = 41, /* NAME */
    AUDIT_LISTXATTR = 42,
    AUDIT_STATFS = 43,
    AUDIT_ACCESS = 44,
    AUDIT_FSYNC = 45,
    AUDIT_LSEEK = 46,
    AUDIT_IOCTL = 47, /* OFF = request number */
    /* what was refused: KEY = the FUSE operation, NAME where there is one */
    AUDIT_REFUSED = 64,
    /* what could not be read: TEXT = the whole message, OFF/LEN = range asked for */
    AUDIT_IOERR = 65
};

/* Flags of a record. */
#define AUDIT_F_CUT (1u << 0) /* a field was cut to fit */
#define AUDIT_F_NO_PROC                                                                            \
    (1u << 1) /* the process could not be identified (gone, or another namespace) */
#define AUDIT_F_RECOVERED (1u << 2)
#define AUDIT_F_MERGED                                                                             \
    (1u << 3) /* a READ that stands for several; made when sealing, never in the ring */

/* Tags of payload fields. */
enum audit_tag {
    AUDIT_T_END = 0,
    AUDIT_T_PATH = 1, /* path of OBJ in the mount, display form (escaped as shown), no leading
                               '/'; empty for the root */
    AUDIT_T_NAME = 2,
    AUDIT_T_KEY = 3,
    AUDIT_T_TEXT = 4,
    AUDIT_T_PID = 5,         /* u32 */
    AUDIT_T_UID = 6,         /* u32 */
    AUDIT_T_GID = 7,         /* u32 */
    AUDIT_T_START = 8,       /* u64 start time of the process, clock ticks since boot */
    AUDIT_T_LOGIN_UID = 9,   /* u32 */
    AUDIT_T_SESSION_ID = 10, /* u32 */
    AUDIT_T_COMM = 11,
    AUDIT_T_EXE = 12,
    AUDIT_T_DEV = 13,    /* u64 */
    AUDIT_T_INO = 14,    /* u64 */
    AUDIT_T_MTIME = 15,  /* i64 ns since 1970 */
    AUDIT_T_CTIME = 16,  /* i64 ns since 1970 */
    AUDIT_T_SHA256 = 17, /* 32 bytes */
    AUDIT_T_SPAN = 18,   /* of a merged read: u32 number of reads (= sequence numbers), i64 latest
                            REAL, u64 latest MONO */
    AUDIT_T_RANGES = 19, /* of a merged read: (u64 offset, u64 length) pairs, ascending by offset */
    AUDIT_T_TTY = 20,    /* controlling terminal of the process */
    /* the session header */
    AUDIT_T_VERSION = 32, /* program version and build */
    AUDIT_T_LIBRARIES = 33,
    AUDIT_T_KERNEL = 34,
    AUDIT_T_HOST = 35,
    AUDIT_T_MACHINE_ID = 36,
    AUDIT_T_BOOT_ID = 37,
    AUDIT_T_TIMEZONE = 38,
    AUDIT_T_COMMAND_LINE = 39, /* arguments separated by NUL; secrets never */
    AUDIT_T_SANDBOX = 40,
    AUDIT_T_EVIDENCE_ID = 41,
    AUDIT_T_CASE_ID = 42,
    AUDIT_T_EXAMINER = 43,
    AUDIT_T_PURPOSE = 44,
    AUDIT_T_WITNESS = 45,
    AUDIT_T_PREVIOUS = 46, /* previous session in this directory: "UUID FRAMES LEAF-HASH-IN-HEX" */
    AUDIT_T_MODE = 47, /* audit mode in force: "requests" or "exact", then "+refused" or nothing */
    AUDIT_T_PREVIOUS_NOTE = 48, /* last checkpoint of that session, the whole signed note */
    AUDIT_T_ORGANISATION = 49,
    AUDIT_T_AUTHORITY = 50,
    AUDIT_T_LOCATION = 51,
    AUDIT_T_CHANGES = 52 /* made to the evidence before, by whom and why; "none" */
};

/* How a session ended; RESULT of the close record is 0 for CLEAN, else this number negated. */
enum audit_close_reason {
    AUDIT_CLOSE_CLEAN = 0,
    AUDIT_CLOSE_SIGNAL = 1,
    AUDIT_CLOSE_WORKER_DIED = 2,
    AUDIT_CLOSE_FAILED = 3,    /* the mount never became usable */
    AUDIT_CLOSE_RECOVERED = 4, /* closed by a recovery after a crash */
    AUDIT_CLOSE_LOG_FULL = 5   /* the log could not be written: audit_full=unmount */
};

#endif
