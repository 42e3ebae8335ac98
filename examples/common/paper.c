/* paper.c - see paper.h */

#include "paper.h"

#include <stdlib.h>
#include <string.h>

const char *const ex_paper_methods[] = { "ECMP",  "AWCMP",     "WCMP",     "LSQ",
                                         "SED",   "RLB-I-SAC", "RLB-QMIX", "RLB-S-SAC", NULL };
const char *const ex_paper_classes[] = { "wiki", "static", NULL };
const double ex_paper_rates[EX_PAPER_RATES] = { 518.8, 690.9, 696.5, 796.3 };
const double ex_paper_large_rates[EX_PAPER_LARGE_RATES] = { 398.5, 419.3 };

const ex_paper_time ex_paper_moderate[EX_PAPER_RATES][EX_PAPER_METHODS][EX_PAPER_CLASSES] = {
    { { { 529.4, 110.5 }, { 258.6, 94.4 } },
      { { 140.9, 4.1 }, { 27.6, 4.0 } },
      { { 92.6, 16.2 }, { 12.7, 8.1 } },
      { { 78.7, 29.9 }, { 8.4, 11.0 } },
      { { 67.2, 5.1 }, { 6.7, 3.1 } },
      { { 84.3, 16.9 }, { 9.4, 7.4 } },
      { { 63.4, 3.9 }, { 3.1, 0.1 } },
      { { 84.2, 13.0 }, { 14.4, 14.4 } } },
    { { { 3178.9, 615.9 }, { 2835.3, 542.8 } },
      { { 430.7, 154.5 }, { 153.3, 112.5 } },
      { { 443.6, 268.1 }, { 201.0, 188.5 } },
      { { 236.6, 164.4 }, { 69.3, 105.7 } },
      { { 189.3, 118.4 }, { 47.3, 48.6 } },
      { { 349.6, 397.8 }, { 152.9, 260.5 } },
      { { 166.9, 62.3 }, { 22.0, 14.1 } },
      { { 397.6, 258.2 }, { 156.3, 155.9 } } },
    { { { 2748.5, 371.1 }, { 2424.6, 388.3 } },
      { { 348.3, 80.3 }, { 101.3, 48.1 } },
      { { 530.7, 411.7 }, { 287.1, 355.9 } },
      { { 207.9, 67.6 }, { 40.3, 41.0 } },
      { { 182.6, 85.7 }, { 40.0, 35.1 } },
      { { 146.4, 54.7 }, { 19.8, 16.9 } },
      { { 88.0, 10.4 }, { 4.0, 0.7 } },
      { { 169.1, 56.4 }, { 27.0, 24.1 } } },
    { { { 3018.5, 837.3 }, { 2636.8, 859.7 } },
      { { 539.1, 152.4 }, { 203.6, 103.2 } },
      { { 466.8, 269.4 }, { 192.5, 181.5 } },
      { { 208.8, 117.5 }, { 50.8, 38.0 } },
      { { 150.9, 69.2 }, { 22.8, 18.5 } },
      { { 155.0, 97.0 }, { 17.5, 21.9 } },
      { { 188.8, 104.7 }, { 38.2, 32.1 } },
      { { 398.9, 367.3 }, { 163.4, 212.3 } } },
};

const double ex_paper_wiki[EX_PAPER_RATES][EX_PAPER_METHODS][2] = {
    { { .096, 1.659 }, { .073, .343 }, { .056, .188 }, { 0, 0 }, { .050, .122 }, { .053, .163 }, { .050, .129 },
      { .053, .150 } },
    { { 1.066, 6.405 }, { .240, 1.059 }, { .148, 1.247 }, { 0, 0 }, { .071, .568 }, { .096, 1.011 }, { .077, .413 },
      { .143, 1.148 } },
    { { .908, 5.792 }, { .207, .839 }, { .131, 1.617 }, { 0, 0 }, { .071, .534 }, { .068, .331 }, { .057, .197 },
      { .078, .395 } },
    { { .985, 6.495 }, { .341, 1.257 }, { .169, 1.275 }, { 0, 0 }, { .071, .398 }, { .070, .371 }, { .076, .473 },
      { .142, 1.150 } },
};

const ex_paper_time ex_paper_large[EX_PAPER_LARGE_RATES][EX_PAPER_METHODS] = {
    { { 5907.2, 550.1 }, { 467.7, 5.5 }, { 629.9, 25.0 }, { 332.7, 1.6 }, { 338.6, 0.7 }, { 344.8, 2.0 },
      { 340.7, 1.5 }, { 353.0, 3.5 } },
    { { 7841.1, 484.7 }, { 595.4, 6.7 }, { 1027.5, 65.5 }, { 420.2, 2.0 }, { 410.3, 2.3 }, { 425.3, 1.8 },
      { 419.7, 2.8 }, { 454.6, 8.4 } },
};

/* ---- traffic of two classes ------------------------------------------------------------------------------------ */

bool ex_pages_make(ex_pages *p, double rate, double work_s, double seconds, uint64_t seed)
{
    double wiki_s = (work_s - EX_PAGES_STATIC_SHARE * EX_PAGES_STATIC_S) / (1 - EX_PAGES_STATIC_SHARE), at_s = 0;
    size_t room = (size_t)(rate * seconds * 1.2) + 1000, i;
    rllb_env_trace *t = &p->trace;
    rllb_rng gaps, works;

    memset(p, 0, sizeof *p);
    t->kind = RLLB_ENV_TRACE_REQUESTS;
    t->time_s = calloc(room, sizeof *t->time_s);
    t->work = calloc(room, sizeof *t->work);
    if (!t->time_s || !t->work) {
        ex_pages_free(p);
        return ex_fail("not enough memory for %.0f requests", rate * seconds) == EX_OK;
    }
    rllb_rng_init(&gaps, seed, 81);
    rllb_rng_init(&works, seed, 82);
    for (i = 0; i < room && (at_s < seconds || i < 2); i++) {
        bool is_static = rllb_rng_double(&works) < EX_PAGES_STATIC_SHARE;
        t->time_s[i] = at_s;
        t->work[i] = is_static ? EX_PAGES_STATIC_S : rllb_rng_exponential(&works, wiki_s);
        t->total += t->work[i];
        at_s += rllb_rng_exponential(&gaps, 1 / rate);
    }
    t->count = (int32_t)i;
    p->rate = (t->count - 1) / t->time_s[i - 1];
    p->work_s = t->total / t->count;
    return true;
}

void ex_pages_free(ex_pages *p)
{
    free(p->trace.time_s);
    free(p->trace.work);
    memset(p, 0, sizeof *p);
}
