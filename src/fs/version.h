/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VD_FS_VERSION_H
#define VD_FS_VERSION_H

/* Version of the libtsk that is loaded ("4.11.1"); borrowed, any thread. */
const char *fs_tsk_version(void);

#endif
