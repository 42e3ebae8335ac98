/* sites.h - the model for many sites: what it sees, what its decisions mean, how it begins

   One shape for all that find such a model, so that what one found another goes on with. It sees ratios, and its
   decisions are steps from the weights there are, so that it is the same to it what the servers' sizes, and a flow's
   work, are. */

#ifndef EX_SITES_H
#define EX_SITES_H

#include "models.h"

#define EX_SITE_STEP 1.25f /* a weight changes by at most this factor at a time */

/* hidden: width of the encoder of servers, and of what decides. */
void ex_site_model(int32_t hidden, uint64_t seed, rllb_nn_policy_desc *p, ex_model_info *info);
/* A first network that hardly moves a weight: the last layers next to nothing. */
void ex_site_begin(rllb_nn_net *net);
/* The parameters of a file into the net: EX_OK; EX_USAGE, said, if it means other things or is of another shape. */
int ex_site_load(const char *path, const rllb_nn_policy_desc *p, const ex_model_info *info, rllb_nn_net *net);

#endif
