/* models.h - balancing policies as files, and how a balancer is set up for one

   A model file is safetensors: the network of an agent and what its decisions mean (rllb_nn_policy), and in the
   metadata how the balancer that it steers must be set up, so that it sees and does in service what it saw and did in
   training.

       ex_model model;
       char why[200];
       if (!ex_model_open("models/rllb-balancer.safetensors", &model)) return EX_FAILED;     said: file, what is wrong
       cell.desc.balancers = 6;                                            the world first, the model after it
       if (!ex_model_fits(&model, &cell.desc, why)) return ex_usage("model", "%s", why);
       if (!ex_model_apply(&model, &cell.desc)) return EX_FAILED;          no memory: said
       ... ex_cells_run ...
       ex_model_close(&model);                                             not before: the cells point into it

   Metadata, all of it optional (a field that is missing has the default), every field checked:
       features        cikm (the default), neurips, own, relative
       form            sed (the default), draw
       d, a, gamma     of the DRAW form, where the actions do not set them; 3, 1, 0
       control_form    yes, no (the default): three more actions set d, a, gamma
       control_steps   yes, no (the default): actions multiply the weights found instead of replacing them
       spread          0 (the default) to 3: with control_steps, how far apart balancers draw their weights
       smoothing       0 (the default) to 0.999
       interval_s      seconds from one decision to the next; default: as in the world
       sample_s        running flows are sampled that often; default: as in the world
       slots           reservoir samples of a server; default: that of rllb.h
       discount        of samples, per second; 0.9
       empty_as_zero   yes, no (the default)
       algorithm, preset, episodes, seed     how it was trained; for people */

#ifndef EX_MODELS_H
#define EX_MODELS_H

#include "rllb_env.h"
#include "rllb_nn.h"

#include "common.h"

typedef struct ex_model_info {
    int32_t features;    /* rllb_features */
    int32_t form;        /* RLLB_FORM_SED or RLLB_FORM_DRAW */
    int32_t d;           /* plain numbers from here on: a = 0 is 0 */
    float a, gamma;
    bool control_form, control_steps;
    float spread, smoothing, interval_s, sample_s; /* interval_s, sample_s 0: as in the world */
    int32_t slots;                         /* 0: the default of rllb.h */
    float discount;
    bool empty_as_zero;
    char algorithm[32], preset[32]; /* plain characters; may be empty */
    int64_t episodes;               /* 0: not said */
    uint64_t seed;
} ex_model_info;

typedef struct ex_model {
    char path[512], name[48];   /* name: of the file, without folder and .safetensors; yours to change */
    ex_model_info info;
    rllb_nn_policy_desc policy; /* as saved: for how many servers, agents */
    ex_text file;
    struct ex_team *teams;      /* policies that serve, a set of them for each kind of world */
} ex_model;

/* cikm, neurips, own, relative; sed, draw (from RLLB_FORM_SED on). NULL at the end. */
extern const char *const ex_features_names[], *const ex_form_names[];
/* The file that ships with rllb. */
#define EX_MODEL_SHIPPED "models/rllb-balancer.safetensors"

/* What a balancer shows with those features: `globals` numbers, then so many for each server. */
void ex_features_shape(int32_t features, int32_t *globals, int32_t *per_server);

void ex_model_info_default(ex_model_info *info);
/* Into a balancer's descriptor, but for policy, control and their selves: training does the same. interval_s and
   sample_s are not in it: in a world they are the world's. */
void ex_model_info_apply(const ex_model_info *info, rllb_balancer_desc *b);

/* False: one line on stderr names the file and what is wrong with it; *out is empty then, and may be closed. */
bool ex_model_open(const char *path, ex_model *out);
/* The same of a policy in memory, which may be gone afterwards; name: for messages. */
bool ex_model_make(rllb_nn_policy *policy, const ex_model_info *info, const char *name, ex_model *out);
/* Writes a file: complete or not at all. Refuses what ex_model_open would refuse. */
bool ex_model_save(const char *path, rllb_nn_policy *policy, const ex_model_info *info);
void ex_model_close(ex_model *m);
/* The policy alone, for up to so many servers at once, of the file as it was opened; yours to destroy, and it may
   outlive the model. NULL: not for so many, or no memory. For a balancer outside the simulator. */
rllb_nn_policy *ex_model_network(const ex_model *m, int32_t servers);

/* Does it serve that world: its number of servers, its balancers where it tells agents apart? False: why says what
   differs, and names the file. */
bool ex_model_fits(const ex_model *m, const rllb_env_flows_desc *d, char why[200]);
/* Makes the world's balancers learned ones: d->balancer (guard, reward and name stay), d->controls, step_s, sample_s.
   The servers, their number and that of the balancers must be set before. Policies are the model's, begun anew by each
   run of a cell; worlds that run at the same time in one process must not share a model. False: said. */
bool ex_model_apply(ex_model *m, rllb_env_flows_desc *d);

/* Before a run: the policies that steer this world forget what they remember. ex_cell_run and ex_cells_run do it. */
void ex_model_begin(const rllb_env_flows_desc *d);

/* That file's, opened once and kept until the program ends. NULL: said. path NULL: EX_MODEL_SHIPPED in the current
   folder, else in ../models or ../../models beside the program. */
ex_model *ex_model_shelf(const char *path);

#endif
