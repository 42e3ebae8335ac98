/* marl.h - learners on the flow-level world: balancers that learn together which weights to give their servers

   One learner is a set of settings and a seed, and from them everything else follows, bit for bit. It lives one episode
   at a time, each with the updates that come after it, and can be written down in between and taken up again:

       ex_marl_settings s;
       ex_marl_row row;
       ex_marl *m;
       ex_marl_settings_default(EX_MARL_QMIX, RLLB_ENV_PRESET_MODERATE, &s);       and whatever is to be different
       s.seed = 7;
       status = ex_marl_settings_check(&s);                                        EX_OK, or EX_USAGE: said
       m = ex_marl_create(&s);                                                     NULL: said
       status = ex_marl_load(m, path);                                             EX_GO_ON: there is no such file
       while (ex_marl_episodes(m) < s.episodes) status = ex_marl_episode(m, &row); EX_FAILED: diverged, said
       ex_marl_save(m, path);
       ex_marl_model(m, 0, &policy, &info);                                        to be served; ex_model_save
       ex_marl_destroy(m);

   The arrivals of training come from a random stream of their own (EX_MARL_STREAM): no world that is made with another
   one, and 0 is the default, is ever met in training.

   What learns (algorithms)
       qmix      centralised training, decentralised execution; values mixed by a network         CIKM'22
       vdn       the same, values added up
       iql       each balancer on its own, by values
       isac      each balancer on its own, soft actor-critic                                      CIKM'22, I-SAC
       ssac      one agent that sees what all balancers see and sets all their weights. Published with one balancer
                 for all traffic, which is the default of `balancers` here                        CIKM'22, S-SAC
       distr-lb  isac with the reward -var - log(var) and what else the follow-up changed         NeurIPS'22
       rlb-sac   isac without memory, continuous weights, many updates a step                     2111.00008
   Balancers that learn on their own share one network all the same: they are alike, as in the papers. */

#ifndef EX_MARL_H
#define EX_MARL_H

#include "flows.h"
#include "models.h"
#include "paper.h"

enum {
    EX_MARL_QMIX,
    EX_MARL_VDN,
    EX_MARL_IQL,
    EX_MARL_ISAC,
    EX_MARL_SSAC,
    EX_MARL_DISTR_LB,
    EX_MARL_RLB_SAC,
    EX_MARL_ALGOS
};
enum { EX_MARL_OWN, EX_MARL_SHARED };                /* whose reward an agent learns by */
enum { EX_MARL_FLAT, EX_MARL_SET };                  /* networks: for so many servers; for any number */
enum { EX_MARL_GRU, EX_MARL_NO_RNN };
enum { EX_MARL_STATE_OBS, EX_MARL_STATE_WORLD };     /* what the mixer sees: all observations; rllb_env_flows_state */
enum {
    EX_MARL_NORM_START, /* rewards to mean 0 and deviation 1 of the episodes before learning begins */
    EX_MARL_NORM_BATCH, /* of each batch; soft actor-critic only */
    EX_MARL_NORM_NONE
};
enum { EX_MARL_EPSILON, EX_MARL_SOFTMAX, EX_MARL_BOUNDED }; /* how agents by value explore; BOUNDED: as released */
enum {
    EX_MARL_PAPER,      /* 1, 1.2, ..., 2 */
    EX_MARL_CODE,       /* 1, 1.5, 2 */
    EX_MARL_WIDE,       /* nine even ratios from 1/4 to 4 */
    EX_MARL_STEPS,      /* five even ratios from 0.8 to 1.25, times the weight there is */
    EX_MARL_CONTINUOUS  /* any number in (0, 2); soft actor-critic only */
};

/* Names as options want them: in the order of the values, NULL at the end. Rewards are those of rllb_reward. */
extern const char *const ex_marl_algo_names[], *const ex_marl_reward_names[], *const ex_marl_reward_of_names[],
    *const ex_marl_net_names[], *const ex_marl_rnn_names[], *const ex_marl_action_names[];

enum { EX_MARL_STREAM = 7001 };

/* All that a learner depends on. Every field has an option of the same name, with - for _ (see ex_marl_options). */
typedef struct ex_marl_settings {
    int32_t algo, preset; /* EX_MARL_QMIX ...; rllb_env_preset */
    /* The world. */
    int32_t balancers;    /* 0: the preset's (ssac: 1) */
    int32_t servers;      /* 0: the preset's; else those over and over. With randomise the most that come */
    int32_t weights;      /* what balancers are told: EX_WEIGHTS_EQUAL by default */
    ex_list rates;        /* flows per second, one an episode in turn; empty: the preset's */
    double horizon;       /* seconds to an episode */
    bool pages;           /* traffic of wiki and static pages (paper.h) instead of the preset's work */
    bool randomise;       /* worlds drawn at random (worlds.h) instead of the preset; so many balancers in each */
    /* What is seen, done and rewarded. */
    int32_t features;     /* rllb_features */
    int32_t actions;      /* EX_MARL_PAPER ... */
    int32_t reward;       /* rllb_reward */
    int32_t reward_of;
    int32_t reward_norm;  /* EX_MARL_NORM_START ... */
    double reward_scale;  /* then times that */
    int32_t form;         /* as ex_form_names: what weights are used for; DRAW with the d, a, gamma of `draw` */
    ex_list draw;
    bool control_form;    /* d, a and gamma are set by the agent too; set networks only */
    double smoothing;     /* share of the weights before */
    double interval;      /* seconds between two decisions */
    double sample;        /* running flows are sampled that often; 0: as in the preset */
    /* Networks. */
    int32_t net, rnn, hidden;
    int32_t mixer;        /* qmix: width of the mixer */
    int32_t state;        /* qmix: EX_MARL_STATE_OBS ... */
    bool double_q;
    /* Learning. */
    double gamma, lambda, lr;
    int32_t batch, window; /* sequences of so many steps; window 0: whole episodes */
    int32_t updates;       /* after each episode, or, with every_step, after each step */
    bool every_step;
    int32_t learn_start;   /* episodes (steps, with every_step) before the first update */
    int32_t episodes;
    int32_t replay;        /* episodes it holds; 0: all, 3,000 at most */
    int32_t explore;       /* EX_MARL_EPSILON ... */
    double epsilon;        /* from 1 to this ... */
    int32_t epsilon_episodes; /* ... over so many; 0: two thirds of `episodes` */
    int32_t target_every;  /* target networks are copied every so many updates; 0: they follow by tau after each.
                              Soft actor-critic: always by tau */
    double tau;
    double entropy;        /* sac: target per decision, share of log(choices); continuous: nats */
    int32_t sac_form;      /* rllb_nn_sac_form */
    int32_t isa;           /* rllb_nn_isa */
    bool portable;
    uint64_t seed;
} ex_marl_settings;

/* What the papers have (Table 2 of CIKM'22 first), with the choices of ours where they leave one; nothing is left 0
   that the fields above call a default, but for isa. */
void ex_marl_settings_default(int32_t algo, int32_t preset, ex_marl_settings *s);
/* One line on stderr if these settings make no learner, naming the option: EX_USAGE. */
int ex_marl_settings_check(const ex_marl_settings *s);
/* Members of an object: all of them, as they are. */
void ex_marl_settings_json(const ex_marl_settings *s, ex_json *j);

/* For a program's table of options: one for each setting but algo, preset and seed, with headings, into `asked`. Then,
   defaults being there, those that were on the command line are taken over. */
enum { EX_MARL_OPTIONS = 64 };
int32_t ex_marl_options(ex_marl_settings *asked, ex_option out[EX_MARL_OPTIONS]);
void ex_marl_settings_take(const ex_program *program, const ex_marl_settings *asked, ex_marl_settings *s);

/* One episode. Times in seconds, of the flows that completed in it. NaN: there is no such figure. */
typedef struct ex_marl_row {
    double episode;   /* from 1 */
    double rate, jct_mean, jct_p90, jct_p99, completed;
    double lost;      /* share of ends that are no completion */
    double reward;    /* mean over agents and steps, as it is, not scaled */
    double updates;   /* so far */
    double loss, value, explore; /* means over its updates; explore: epsilon, or entropy of a decision in nats */
    double alpha;     /* temperature */
    double seconds;   /* it took; not kept, so that files do not tell the time */
} ex_marl_row;

enum { EX_MARL_COLUMNS = sizeof(ex_marl_row) / sizeof(double) };
extern const char *const ex_marl_columns[EX_MARL_COLUMNS]; /* "episode", "rate", ... for files */

typedef struct ex_marl ex_marl;

ex_marl *ex_marl_create(const ex_marl_settings *s);
void ex_marl_destroy(ex_marl *m);
/* The settings as they are in use. */
const ex_marl_settings *ex_marl_query(const ex_marl *m);
/* EX_OK, or EX_FAILED after a line on stderr: it diverged (what was before the update stays), or no memory. */
int ex_marl_episode(ex_marl *m, ex_marl_row *row);
/* Episodes so far, and a row for each. */
int32_t ex_marl_episodes(const ex_marl *m);
const ex_marl_row *ex_marl_rows(const ex_marl *m);
/* Worlds to judge by: as those of training, rates in turn, but arrivals of a stream of their own (EX_MARL_STREAM + 1),
   and the same for learners of all seeds. world: the one with that number, for other policies to be run in; its pages,
   where there are any, are the caller's, its servers the learner's. judge: an episode in it without exploration,
   nothing is learnt from. */
bool ex_marl_world(ex_marl *m, int32_t number, ex_pages *pages, rllb_env_flows_desc *d);
int ex_marl_judge(ex_marl *m, int32_t number, ex_marl_row *row);

/* The whole of it, between two episodes. load: EX_OK; EX_GO_ON: there is no such file; EX_USAGE: of other settings,
   said what differs; EX_FAILED: damaged, or cannot be read, said. */
bool ex_marl_save(ex_marl *m, const char *path);
int ex_marl_load(ex_marl *m, const char *path);

/* The policy of an agent, to be served (the caller destroys it), and how a balancer is set up for it: for ex_model_save
   and ex_model_make. False: no memory, or ssac with several balancers, whose one network is no balancer's own; said. */
bool ex_marl_model(ex_marl *m, int32_t agent, rllb_nn_policy **policy, ex_model_info *info);

#endif
