/* library.c - rllb inside the module, and what the shared files of the examples say of wrong models

   examples/common/models.c complains with ex_fail. In nginx a complaint goes to its log, so here ex_fail keeps the line
   until the module logs it; its own way, onto stderr, gets another name. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"
#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* gcc 12 finds one that is not, with nginx's options */
#endif
#define RLLB_NN_IMPLEMENTATION
#include "rllb_nn.h"

#include "library.h"

#define ex_fail nx_unused_fail
#include "../common/options.c"
#undef ex_fail

char nx_said[NX_SAID];

int ex_fail(const char *format, ...) EX_PRINTF(1, 2);

int ex_fail(const char *format, ...)
{
    va_list values;

    va_start(values, format);
    vsnprintf(nx_said, sizeof nx_said, format, values);
    va_end(values);
    return EX_FAILED;
}

/* There is no progress bar to clear. */
void ex_clear_progress(void) {}
