/* SPDX-License-Identifier: Apache-2.0 */
/* Exit codes of vdiskfs and vdiskctl.  Stable: scripts may depend on them. */
#ifndef VDISKFS_EXIT_CODES_H
#define VDISKFS_EXIT_CODES_H

enum vd_exit {
    VD_EXIT_OK = 0,
    VD_EXIT_USAGE = 1,       /* bad command line; the message names the option */
    VD_EXIT_CANNOT_OPEN = 2, /* cannot open, damaged, or unsupported */
    VD_EXIT_CHAIN = 3,       /* chain or integrity refused */
    VD_EXIT_KEY = 4,         /* a key is needed, or was wrong */
    VD_EXIT_MOUNT = 5,       /* mounting failed */
    VD_EXIT_AUDIT = 6,       /* the audit log cannot be written */
    VD_EXIT_DIFFERENCE = 7 /* a verification found a difference, check an error or a warning, export
                                bytes that cannot be had (--errors zero) */
};

#endif
