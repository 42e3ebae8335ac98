/* player.h - one policy, classical or trained, that plays one environment of the cluster step by step */

#ifndef EX_PLAYER_H
#define EX_PLAYER_H

#include "cluster.h"

/* The names of the classical policies, as an option with choices wants them. */
extern const char *const ex_policy_names[];

typedef struct ex_player {
    char name[64];       /* "least_load", or of a model its algorithm and folder: "dueling (train)" */
    const char *path;    /* of the model; NULL: classical */
    ex_network model;
    rllb_policy_kind kind;
    /* Set by open: */
    rllb_policy *policy;
    rllb_nn_work *work;
    float *seen, *values;
    int32_t inputs, servers;
} ex_player;

void ex_player_classical(ex_player *p, rllb_policy_kind kind);
/* False: said on stderr, naming the file. */
bool ex_player_model(ex_player *p, const char *path);
/* Gives the world the cluster and the rates that the model was trained for, where the command line names none and the
   file tells. Before ex_world_open. */
bool ex_player_world(const ex_player *p, ex_world *w, bool env_given, bool rates_given);
/* For a world that is open. False: said on stderr. A model that was trained for another cluster is worth a warning. */
bool ex_player_open(ex_player *p, const ex_world *w, const rllb_env_cluster *env, uint64_t seed);
int32_t ex_player_choose(ex_player *p, const rllb_env_cluster *env);
void ex_player_close(ex_player *p);

#endif
