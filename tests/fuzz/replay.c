/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files, without a fuzzer: every argument is a file or a directory whose
 * regular files are run in order.  No input at all is a failure, so an empty corpus is noticed. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_run;

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    uint8_t *data = NULL;
    struct stat st;
    size_t size = 0;
    int rc = -1;

    if (!f || fstat(fileno(f), &st) != 0)
        goto out;
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        goto out;
    size = fread(data, 1, (size_t)st.st_size, f);
    if (ferror(f))
        goto out;
    (void)LLVMFuzzerTestOneInput(data, size);
    n_run++;
    rc = 0;
out:
    if (rc)
        perror(path);
    if (f)
        (void)fclose(f);
    free(data);
    return rc;
}

static int run_dir(const char *path)
{
    struct dirent **names = NULL;
    int i, n = scandir(path, &names, NULL, alphasort), rc = 0;

    if (n < 0) {
        perror(path);
        return -1;
    }
    for (i = 0; i < n; i++) {
        char file[4096];
        struct stat st;

        (void)snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
            rc |= run_file(file);
        free(names[i]);
    }
    free(names);
    return rc;
}

int main(int argc, char **argv)
{
    int i, rc = 0;

    for (i = 1; i < argc; i++) {
        struct stat st;

        if (stat(argv[i], &st) != 0) {
            perror(argv[i]);
            rc = -1;
        } else {
            rc |= S_ISDIR(st.st_mode) ? run_dir(argv[i]) : run_file(argv[i]);
        }
    }
    printf("%u inputs run\n", n_run);
    return rc || !n_run;
}
