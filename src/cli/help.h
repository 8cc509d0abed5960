/* SPDX-License-Identifier: Apache-2.0 */
/* --help and the manual pages, both made from the option table (cli/options.c). */
#ifndef VD_CLI_HELP_H
#define VD_CLI_HELP_H

#include <stdio.h>

void help_vdiskfs(FILE *out);
void help_vdiskctl(FILE *out);
/* The same as man(7) source; the build installs it as vdiskfs(1) and vdiskctl(1). */
void help_man_vdiskfs(FILE *out);
void help_man_vdiskctl(FILE *out);

#endif
