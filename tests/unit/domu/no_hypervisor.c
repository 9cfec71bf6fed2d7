/* Lets the real `xl create --dryrun` run where there is no Xen: it stands in for the hypervisor and
 * xenstore, which a dry run opens but does not need. What xl makes of a configuration stays its own.
 */
#include <stdlib.h>

void *xc_interface_open(void *logger, void *logger2, unsigned flags) { return calloc(1, 4096); }
int xc_interface_close(void *handle) { return 0; }
void *xs_open(unsigned long flags) { return calloc(1, 4096); }
void xs_close(void *handle) {}
int xs_fileno(void *handle) { return 0; }
void *xenforeignmemory_open(void *logger, unsigned flags) { return calloc(1, 4096); }
int xenforeignmemory_close(void *handle) { return 0; }

const void *libxl_get_version_info(void *ctx)
{
    static const char *words[64]; /* longer than libxl_version_info: only its strings are read */
    for (int i = 0; i < 64; i++) words[i] = "";
    return words;
}
int libxl_get_physinfo(void *ctx, void *info) { return 0; }
int libxl_get_max_cpus(void *ctx) { return 8; }
int libxl_get_scheduler(void *ctx) { return 5; }
