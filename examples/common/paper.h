/* paper.h - what two papers published, and the traffic of two classes that their testbed had

   [1] "Multi-Agent Reinforcement Learning for Network Load Balancing in Data Center", CIKM 2022: Tables 3 to 7. Mean
       time of a request in ms, with the standard deviation of the means of five runs, by method, rate and class.
   [2] "Reinforced Workload Distribution Fairness", 2021: a poster's Tables A and B, of a simulator. */

#ifndef EX_PAPER_H
#define EX_PAPER_H

#include "common.h"

#include "rllb_env.h"

/* ---- [1] ----------------------------------------------------------------------------------------------------- */

/* In the order of its tables. */
typedef enum ex_paper_method {
    EX_PAPER_ECMP,
    EX_PAPER_AWCMP,
    EX_PAPER_WCMP,
    EX_PAPER_LSQ,
    EX_PAPER_SED,
    EX_PAPER_I_SAC,
    EX_PAPER_QMIX,
    EX_PAPER_S_SAC,
    EX_PAPER_METHODS
} ex_paper_method;

enum { EX_PAPER_WIKI, EX_PAPER_STATIC, EX_PAPER_CLASSES };
enum { EX_PAPER_RATES = 4, EX_PAPER_LARGE_RATES = 2 };

typedef struct ex_paper_time {
    double mean, sd;
} ex_paper_time;

extern const char *const ex_paper_methods[], *const ex_paper_classes[];
/* Tables 3 to 6: moderate scale, a table a rate; Table 7: large scale, one class. Flows per second. */
extern const double ex_paper_rates[EX_PAPER_RATES], ex_paper_large_rates[EX_PAPER_LARGE_RATES];
extern const ex_paper_time ex_paper_moderate[EX_PAPER_RATES][EX_PAPER_METHODS][EX_PAPER_CLASSES];
/* Of wiki pages, from the notebooks beside the released code: median and 90th percentile in s; 0: not there. */
extern const double ex_paper_wiki[EX_PAPER_RATES][EX_PAPER_METHODS][2];
extern const ex_paper_time ex_paper_large[EX_PAPER_LARGE_RATES][EX_PAPER_METHODS];

/* From its text. Busy workers of a server of the stronger group over one of the weaker, under SED; how many times as
   fast QMIX is at the 90th percentile; what a pick costs more than with SED and LSQ; step interval, large over
   moderate. */
#define EX_PAPER_BUSY_SED 2.329
#define EX_PAPER_BUSY_SED_LARGE { 2.67, 2.25 }
#define EX_PAPER_P90_GAIN { 1.44, 5.11 }
#define EX_PAPER_PICK_OVER_SED 1.036
#define EX_PAPER_PICK_OVER_LSQ 1.086
#define EX_PAPER_PICK_US 1.66
#define EX_PAPER_STEP_RATIO 1.24

/* ---- [2] ----------------------------------------------------------------------------------------------------- */

/* Table A, at 60, 70, 80, 90 and 100 %: { fairness, mean residual time in s }. */
#define EX_PAPER_A_ECMP { { .646, .512, .512, .515, .517 }, { .130, 1.225, 1.504, 1.553, 1.568 } }
#define EX_PAPER_A_WCMP { { .753, .765, .788, .787, .835 }, { .046, .060, .088, .192, .809 } }
#define EX_PAPER_A_LSQ { { .768, .791, .789, .806, .864 }, { .046, .062, .090, .137, .607 } }
#define EX_PAPER_A_SED { { .841, .855, .902, .929, .989 }, { .033, .046, .067, .099, .417 } }
#define EX_PAPER_A_RLB { { .782, .807, .874, .904, .969 }, { .033, .040, .064, .100, .520 } }
/* Table B, one and two balancers over four servers, then over eight: residual time in s, { mean, greatest }. */
#define EX_PAPER_B_SED { { .146, .149, .140, .141 }, { 1.202, .938, 1.110, 1.035 } }
#define EX_PAPER_B_LSQ { { .184, .193, .187, .194 }, { 1.661, 1.302, 1.518, 1.300 } }
#define EX_PAPER_B_WCMP { { .232, .223, .236, .236 }, { 2.190, 2.803, 2.822, 2.736 } }
#define EX_PAPER_B_ECMP { { 2.195, 2.256, 2.085, 2.192 }, { 8.520, 8.604, 9.483, 8.863 } }
#define EX_PAPER_B_RLB_J { { .177, .186, .172, .172 }, { 1.271, 1.385, 1.741, 1.270 } }
#define EX_PAPER_B_RLB_G { { .167, .188, .162, .182 }, { 1.426, 1.725, 1.334, 1.700 } }
#define EX_PAPER_B_RLB_B { { .167, .175, .166, .174 }, { 1.639, 1.695, 1.653, 1.611 } }

/* ---- traffic of two classes ------------------------------------------------------------------------------------ */

/* [1] replays wiki pages, which take CPU, and static pages of about 2 ms; the share of either and the work of a wiki
   page are not published. Here every other request on average is static and takes just 2 ms of a CPU, and a wiki page
   takes exponential work with the mean that makes the mean of all what the world has (moderate: 45.6 ms for 23.8; the
   published medians of wiki pages at the least load are 50 to 56 ms). Both wait for the same workers. */
#define EX_PAGES_STATIC_S 0.002
#define EX_PAGES_STATIC_SHARE 0.5

typedef struct ex_pages {
    rllb_env_trace trace;
    double rate, work_s; /* what came out: set the world's to these, and the trace is played as it is */
} ex_pages;

/* Poisson arrivals for so many seconds. False: no memory, said. */
bool ex_pages_make(ex_pages *p, double rate, double work_s, double seconds, uint64_t seed);
void ex_pages_free(ex_pages *p);

#endif
