/* marl.c - see marl.h */

#include "marl.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worlds.h"

const char *const ex_marl_algo_names[] = { "qmix", "vdn", "iql", "isac", "ssac", "distr-lb", "rlb-sac", NULL };
const char *const ex_marl_reward_names[] = { "jain", "product", "sine", "var", "var-log", "max", "var-both",
                                             "mean", "mean-log", NULL };
const char *const ex_marl_reward_of_names[] = { "own", "shared", NULL };
const char *const ex_marl_net_names[] = { "flat", "set", NULL };
const char *const ex_marl_rnn_names[] = { "gru", "none", NULL };
const char *const ex_marl_action_names[] = { "paper", "code", "wide", "steps", "continuous", NULL };
static const char *const norm_names[] = { "start", "batch", "none", NULL };
static const char *const state_names[] = { "observations", "world", NULL };
static const char *const explore_names[] = { "epsilon", "softmax", "bounded", NULL };
static const char *const sac_form_names[] = { "exact", "released", NULL };

const char *const ex_marl_columns[EX_MARL_COLUMNS] = { "episode", "rate", "jct_mean", "jct_p90", "jct_p99",
                                                       "completed", "lost", "reward", "updates", "loss",
                                                       "value", "explore", "alpha", "seconds" };

/* ---- settings ------------------------------------------------------------------------------------------------ */

typedef enum field_kind { FIELD_HEADING, FIELD_INT, FIELD_DOUBLE, FIELD_SWITCH, FIELD_CHOICE, FIELD_LIST } field_kind;

/* One setting: its option, its place, its name in files. A heading is a name only. */
typedef struct field {
    const char *name;
    field_kind kind;
    size_t at;
    double low, high;
    const char *const *names;
    const char *value, *help;
} field;

#define AT(member) offsetof(ex_marl_settings, member)

static const field fields[] = {
    { "The world", FIELD_HEADING, 0, 0, 0, NULL, NULL, NULL },
    { "balancers", FIELD_INT, AT(balancers), 0, 1024, NULL, "N", "so many; 0: the preset's, ssac: 1" },
    { "servers", FIELD_INT, AT(servers), 0, 4096, NULL, "N", "so many, the preset's over and over; 0: as they are" },
    { "weights", FIELD_CHOICE, AT(weights), 0, 0, ex_weights_names, NULL, "what balancers are told of their servers" },
    { "rates", FIELD_LIST, AT(rates), 1e-3, 1e9, NULL, "X,...", "flows per second, one an episode in turn" },
    { "horizon", FIELD_DOUBLE, AT(horizon), 0.01, 1e6, NULL, "S", "seconds to an episode" },
    { "pages", FIELD_SWITCH, AT(pages), 0, 0, NULL, NULL, "traffic of wiki and static pages" },
    { "randomise", FIELD_SWITCH, AT(randomise), 0, 0, NULL, NULL,
      "servers, speeds, loads and events drawn at random; needs --net set" },
    { "What is seen, done and rewarded", FIELD_HEADING, 0, 0, 0, NULL, NULL, NULL },
    { "features", FIELD_CHOICE, AT(features), 0, 0, ex_features_names, NULL, "what is observed" },
    { "actions", FIELD_CHOICE, AT(actions), 0, 0, ex_marl_action_names, NULL, "weights to choose from" },
    { "reward", FIELD_CHOICE, AT(reward), 0, 0, ex_marl_reward_names, NULL, "what an interval is worth" },
    { "reward-of", FIELD_CHOICE, AT(reward_of), 0, 0, ex_marl_reward_of_names, NULL,
      "to the agent itself, or to all of them" },
    { "reward-norm", FIELD_CHOICE, AT(reward_norm), 0, 0, norm_names, NULL, "to mean 0 and deviation 1, of what" },
    { "reward-scale", FIELD_DOUBLE, AT(reward_scale), 1e-9, 1e9, NULL, "X", "and then times that" },
    { "form", FIELD_CHOICE, AT(form), 0, 0, ex_form_names, NULL, "what the weights are used for" },
    { "draw", FIELD_LIST, AT(draw), 0, 64, NULL, "D,A,G", "of the draw form: d, a, gamma" },
    { "control-form", FIELD_SWITCH, AT(control_form), 0, 0, NULL, NULL,
      "agents set d, a and gamma too; needs --net set, --form draw" },
    { "smoothing", FIELD_DOUBLE, AT(smoothing), 0, 0.999, NULL, "X", "share of the weights before in the new ones" },
    { "interval", FIELD_DOUBLE, AT(interval), 0.001, 3600, NULL, "S", "seconds between two decisions" },
    { "sample", FIELD_DOUBLE, AT(sample), 0, 3600, NULL, "S", "running flows are sampled that often; 0: never" },
    { "Networks", FIELD_HEADING, 0, 0, 0, NULL, NULL, NULL },
    { "net", FIELD_CHOICE, AT(net), 0, 0, ex_marl_net_names, NULL, "for just these servers, or for any number" },
    { "rnn", FIELD_CHOICE, AT(rnn), 0, 0, ex_marl_rnn_names, NULL, "memory" },
    { "hidden", FIELD_INT, AT(hidden), 1, 4096, NULL, "N", "units of every layer" },
    { "mixer", FIELD_INT, AT(mixer), 1, 4096, NULL, "N", "qmix: width of the mixer" },
    { "state", FIELD_CHOICE, AT(state), 0, 0, state_names, NULL, "qmix: what the mixer goes by" },
    { "Learning", FIELD_HEADING, 0, 0, 0, NULL, NULL, NULL },
    { "double-q", FIELD_SWITCH, AT(double_q), 0, 0, NULL, NULL, "next actions chosen by the learning network" },
    { "gamma", FIELD_DOUBLE, AT(gamma), 0, 1, NULL, "X", "discount of later rewards" },
    { "lambda", FIELD_DOUBLE, AT(lambda), 0, 1, NULL, "X", "qmix, vdn, iql: of TD(lambda)" },
    { "lr", FIELD_DOUBLE, AT(lr), 1e-9, 1e6, NULL, "X", "learning rate of Adam" },
    { "batch", FIELD_INT, AT(batch), 1, 65536, NULL, "N", "sequences to an update" },
    { "window", FIELD_INT, AT(window), 0, 65536, NULL, "N", "steps of a sequence; 0: whole episodes" },
    { "updates", FIELD_INT, AT(updates), 0, 1000000, NULL, "N", "after each episode, or step" },
    { "every-step", FIELD_SWITCH, AT(every_step), 0, 0, NULL, NULL, "updates after each step, not each episode" },
    { "learn-start", FIELD_INT, AT(learn_start), 0, 1000000, NULL, "N", "episodes (steps) before the first update" },
    { "replay", FIELD_INT, AT(replay), 0, 1000000, NULL, "N", "episodes that are remembered; 0: all, at most 3000" },
    { "explore", FIELD_CHOICE, AT(explore), 0, 0, explore_names, NULL, "qmix, vdn, iql: how" },
    { "epsilon", FIELD_DOUBLE, AT(epsilon), 0, 1, NULL, "X", "share of random choices, from 1 down to this" },
    { "epsilon-episodes", FIELD_INT, AT(epsilon_episodes), 0, 1000000, NULL, "N",
      "over so many; 0: two thirds of all" },
    { "target-every", FIELD_INT, AT(target_every), 0, 1000000, NULL, "N",
      "qmix, vdn, iql: updates between two copies to the target networks; 0: by tau" },
    { "tau", FIELD_DOUBLE, AT(tau), 1e-6, 1, NULL, "X", "how much target networks follow after each update" },
    { "entropy", FIELD_DOUBLE, AT(entropy), -100, 1, NULL, "X", "sac: target, share of the greatest, or nats" },
    { "sac-form", FIELD_CHOICE, AT(sac_form), 0, 0, sac_form_names, NULL, "sac: exact, or as the code was released" },
    { "isa", FIELD_CHOICE, AT(isa), 0, 0, ex_isa_names, NULL, "instruction set" },
    { "portable", FIELD_SWITCH, AT(portable), 0, 0, NULL, NULL, "the same bits on every machine; slower" },
    { "episodes", FIELD_INT, AT(episodes), 1, 10000000, NULL, "N", "episodes to train" },
};

static void *place(ex_marl_settings *s, const field *f)
{
    return (unsigned char *)s + f->at;
}

static const void *place_const(const ex_marl_settings *s, const field *f)
{
    return (const unsigned char *)s + f->at;
}

static void field_option(const field *f, void *to, ex_option *out)
{
    memset(out, 0, sizeof *out);
    out->name = f->name;
    out->low = f->low;
    out->high = f->high;
    out->names = f->names;
    out->value = f->value;
    out->help = f->help;
    switch (f->kind) {
    case FIELD_HEADING:
        out->kind = EX_KIND_HEADING;
        out->help = f->name;
        out->name = NULL;
        break;
    case FIELD_INT:
        out->kind = EX_KIND_INT;
        out->to.i32 = to;
        break;
    case FIELD_DOUBLE:
        out->kind = EX_KIND_DOUBLE;
        out->to.f64 = to;
        break;
    case FIELD_SWITCH:
        out->kind = EX_KIND_FLAG;
        out->to.flag = to;
        break;
    case FIELD_CHOICE:
        out->kind = EX_KIND_CHOICE;
        out->to.i32 = to;
        break;
    case FIELD_LIST:
        out->kind = EX_KIND_LIST;
        out->to.list = to;
        break;
    }
}

int32_t ex_marl_options(ex_marl_settings *asked, ex_option out[EX_MARL_OPTIONS])
{
    int32_t i;

    for (i = 0; i < EX_COUNT(fields); i++) field_option(&fields[i], place(asked, &fields[i]), &out[i]);
    return i;
}

static size_t field_size(const field *f)
{
    switch (f->kind) {
    case FIELD_DOUBLE: return sizeof(double);
    case FIELD_SWITCH: return sizeof(bool);
    case FIELD_LIST: return sizeof(ex_list);
    case FIELD_HEADING:
    case FIELD_INT:
    case FIELD_CHOICE: break;
    }
    return sizeof(int32_t);
}

void ex_marl_settings_take(const ex_program *program, const ex_marl_settings *asked, ex_marl_settings *s)
{
    int32_t i;

    for (i = 0; i < EX_COUNT(fields); i++) {
        const field *f = &fields[i];
        if (f->kind == FIELD_HEADING || !ex_option_given(program, f->name)) continue;
        memcpy(place(s, f), place_const(asked, f), field_size(f));
    }
}

static void list_text(const ex_list *list, char *out, size_t size)
{
    size_t used = 0;
    char number[32];
    int32_t i;

    snprintf(out, size, "none");
    for (i = 0; i < list->count && used < size; i++) {
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "," : "",
                                 ex_number_double(list->values[i], number));
    }
}

enum { VALUE_TEXT = EX_LIST_MAX * 26, SETUP_TEXT = 4096 };

static const char *field_text(const ex_marl_settings *s, const field *f, char out[VALUE_TEXT])
{
    const void *from = place_const(s, f);
    char number[32];

    switch (f->kind) {
    case FIELD_HEADING: break;
    case FIELD_INT: snprintf(out, VALUE_TEXT, "%d", (int)*(const int32_t *)from); break;
    case FIELD_DOUBLE: snprintf(out, VALUE_TEXT, "%s", ex_number_double(*(const double *)from, number)); break;
    case FIELD_SWITCH: snprintf(out, VALUE_TEXT, "%s", *(const bool *)from ? "yes" : "no"); break;
    case FIELD_CHOICE: snprintf(out, VALUE_TEXT, "%s", f->names[*(const int32_t *)from]); break;
    case FIELD_LIST: list_text(from, out, VALUE_TEXT); break;
    }
    return out;
}

/* All that makes a learner what it is, but for how long it lives. */
static const char *setup_text(const ex_marl_settings *s, char text[SETUP_TEXT])
{
    char value[VALUE_TEXT];
    int32_t i;
    size_t used = (size_t)snprintf(text, SETUP_TEXT, "algo=%s preset=%s seed=%llu", ex_marl_algo_names[s->algo],
                                   ex_preset_names[s->preset], (unsigned long long)s->seed);

    for (i = 0; i < EX_COUNT(fields) && used < SETUP_TEXT; i++) {
        if (fields[i].kind == FIELD_HEADING || fields[i].at == AT(episodes)) continue;
        used += (size_t)snprintf(text + used, SETUP_TEXT - used, " %s=%s", fields[i].name,
                                 field_text(s, &fields[i], value));
    }
    return text;
}

static void field_json(const ex_marl_settings *s, const field *f, ex_json *j)
{
    const void *from = place_const(s, f);
    const ex_list *list = from;
    int32_t i;

    switch (f->kind) {
    case FIELD_HEADING: break;
    case FIELD_INT: ex_json_int(j, f->name, *(const int32_t *)from); break;
    case FIELD_DOUBLE: ex_json_double(j, f->name, *(const double *)from); break;
    case FIELD_SWITCH: ex_json_bool(j, f->name, *(const bool *)from); break;
    case FIELD_CHOICE: ex_json_string(j, f->name, f->names[*(const int32_t *)from]); break;
    case FIELD_LIST:
        ex_json_row_array(j, f->name);
        for (i = 0; i < list->count; i++) ex_json_double(j, NULL, list->values[i]);
        ex_json_end(j);
        break;
    }
}

void ex_marl_settings_json(const ex_marl_settings *s, ex_json *j)
{
    int32_t i;

    ex_json_string(j, "algo", ex_marl_algo_names[s->algo]);
    ex_json_string(j, "preset", ex_preset_names[s->preset]);
    for (i = 0; i < EX_COUNT(fields); i++) field_json(s, &fields[i], j);
}

static bool by_value(int32_t algo)
{
    return algo == EX_MARL_QMIX || algo == EX_MARL_VDN || algo == EX_MARL_IQL;
}

static void add_rates(ex_list *list, const double *rates, int32_t count)
{
    list->count = count;
    memcpy(list->values, rates, (size_t)count * sizeof *rates);
}

/* CIKM'22 trains on the odd hours above 500 queries/s and publishes the rates of the even ones: here each odd hour from
   1 to 7 and 17 to 23 has the mean of the two beside it. LARGE: the ends of the published range and the middle of the
   two rates it is judged at. */
static void default_rates(int32_t preset, ex_list *list)
{
    static const double moderate[] = { 741.9, 689.1, 693.7, 607.6, 626.3, 745.2, 771.7, 790.4 };
    static const double large[] = { 391.5, 408.9, 436.7 };

    if (preset == RLLB_ENV_PRESET_MODERATE) add_rates(list, moderate, EX_COUNT(moderate));
    else if (preset == RLLB_ENV_PRESET_LARGE) add_rates(list, large, EX_COUNT(large));
}

/* 2111.00008, and its code where that says nothing. */
static void default_rlb_sac(ex_marl_settings *s)
{
    s->features = RLLB_FEATURES_NEURIPS;
    s->actions = EX_MARL_CONTINUOUS;
    s->reward = RLLB_REWARD_JAIN;
    s->reward_norm = EX_MARL_NORM_BATCH;
    s->reward_scale = 10;
    s->smoothing = 0.5;
    s->interval = 0.5;
    s->rnn = EX_MARL_NO_RNN;
    s->hidden = 512;
    s->lr = 3e-4;
    s->batch = 64;
    s->window = 1;
    s->updates = 10;
    s->every_step = true;
    s->learn_start = 64;
    s->episodes = 20;
    s->replay = 25; /* 3,000 steps */
    s->entropy = -1;
}

void ex_marl_settings_default(int32_t algo, int32_t preset, ex_marl_settings *s)
{
    static const double draw[3] = { 3, 1.2, 0 };
    bool wide = preset == RLLB_ENV_PRESET_LARGE || preset == RLLB_ENV_PRESET_FLEET;
    bool together = algo == EX_MARL_QMIX || algo == EX_MARL_VDN || algo == EX_MARL_SSAC;

    memset(s, 0, sizeof *s);
    s->algo = algo;
    s->preset = preset;
    s->weights = EX_WEIGHTS_EQUAL;
    default_rates(preset, &s->rates);
    s->horizon = wide ? 30 : 60;
    s->reward = algo == EX_MARL_DISTR_LB ? RLLB_REWARD_VARIANCE_BOTH : RLLB_REWARD_PRODUCT;
    s->reward_of = together ? EX_MARL_SHARED : EX_MARL_OWN;
    s->reward_scale = 1;
    s->actions = algo == EX_MARL_DISTR_LB ? EX_MARL_CODE : EX_MARL_PAPER;
    add_rates(&s->draw, draw, 3);
    s->interval = 0.25;
    s->hidden = wide ? 512 : 128;
    s->mixer = 32;
    s->double_q = true; /* the published equation has the plain maximum: over as many heads it promises too much */
    s->gamma = 0.99;
    s->lambda = 0.6;
    s->lr = wide ? 3e-4 : 1e-3;
    s->batch = 12;
    s->updates = s->learn_start = 25;
    s->episodes = 72;
    s->epsilon = 0.05;
    s->target_every = by_value(algo) ? 200 : 0; /* once an episode, as released, lets the values of qmix run away */
    s->tau = 0.01;
    s->entropy = 0.3;
    s->seed = 1;
    if (algo == EX_MARL_RLB_SAC) default_rlb_sac(s);
}

/* What it comes to: nothing that stands for something else is left. */
static void settle(ex_marl_settings *s)
{
    rllb_env_flows_desc d;

    rllb_env_flows_preset((rllb_env_preset)s->preset, &d);
    if (s->balancers == 0 && s->algo == EX_MARL_SSAC) s->balancers = 1;
    if (s->balancers == 0) s->balancers = d.balancers;
    if (s->servers == 0) s->servers = s->randomise ? EX_WORLD_SERVERS / 2 : d.count;
    if (s->replay == 0) s->replay = s->episodes < 3000 ? s->episodes : 3000;
    if (s->epsilon_episodes == 0) s->epsilon_episodes = (2 * s->episodes + 2) / 3;
}

int ex_marl_settings_check(const ex_marl_settings *s)
{
    bool values = by_value(s->algo), set = s->net == EX_MARL_SET;
    const char *name;

    if (s->algo < 0 || s->algo >= EX_MARL_ALGOS) return ex_usage("algo", "there is no algorithm %d", (int)s->algo);
    name = ex_marl_algo_names[s->algo];
    if (values && s->actions == EX_MARL_CONTINUOUS) {
        return ex_usage("actions", "%s chooses among some: any number is for soft actor-critic", name);
    }
    if (values && s->reward_norm == EX_MARL_NORM_BATCH) {
        return ex_usage("reward-norm", "batch is for soft actor-critic, not for %s", name);
    }
    if (s->actions == EX_MARL_CONTINUOUS && s->sac_form == RLLB_NN_SAC_RELEASED) {
        return ex_usage("sac-form", "as released it chooses among some, with --actions paper or code");
    }
    if (s->control_form && (!set || s->form == 0)) {
        return ex_usage("control-form", "d, a and gamma are set with --net set --form draw");
    }
    if (s->draw.count != 3 || s->draw.values[0] < 1 || s->draw.values[1] > 16 || s->draw.values[2] > 16) {
        return ex_usage("draw", "d, a, gamma: d from 1 to 64, a and gamma from 0 to 16");
    }
    if (s->randomise && !set) return ex_usage("randomise", "a flat network is for one number of servers: --net set");
    if (s->randomise && s->algo == EX_MARL_QMIX) {
        return ex_usage("randomise", "qmix's mixer has a weight for each of a fixed number of servers: take vdn");
    }
    if (s->randomise && s->pages) return ex_usage("pages", "is not for worlds drawn at random");
    if (s->randomise && (s->servers == 1 || s->servers > EX_WORLD_SERVERS)) {
        return ex_usage("servers", "2 to %d with --randomise", EX_WORLD_SERVERS);
    }
    if (s->horizon < 3 * s->interval) return ex_usage("horizon", "shorter than three intervals");
    return ex_isa_there(s->isa, s->portable) ? EX_OK : EX_USAGE;
}

/* ---- a learner ----------------------------------------------------------------------------------------------- */

enum { COUNT_UPDATES, COUNT_FROZEN, COUNTS };

/* What updates say of themselves: sums over those of an episode. */
typedef struct report {
    double loss, value, entropy;
    int32_t updates;
} report;

/* Kinds of learners. */
typedef struct kind {
    bool (*open)(ex_marl *m);
    void (*close)(ex_marl *m);
    void (*begin)(ex_marl *m); /* forgets the episode */
    rllb_status (*act)(ex_marl *m, const float *obs, int32_t items, bool explore, float *action);
    rllb_status (*observe)(ex_marl *m, const rllb_nn_step *step);
    rllb_status (*update)(ex_marl *m, report *sum);
    void (*entries)(ex_marl *m, rllb_nn_archive *a);
    rllb_nn_net *(*net)(ex_marl *m);
} kind;

struct ex_marl {
    ex_marl_settings s; /* settled */
    const kind *how;
    rllb_nn_qmix *values;
    rllb_nn_sac *actor;
    ex_flows flows;
    ex_world_drawn drawn;       /* with randomise */
    ex_model_info info;
    rllb_nn_policy_desc policy; /* space, network, and what decisions mean */
    bool joint, set;            /* one agent for all balancers; a network for any number of servers */
    int32_t agents, globals, per, most, steps; /* most: servers; steps: of the longest episode */
    int32_t seen, decided;      /* numbers of an agent's observation and action */
    float *obs, *next, *action, *state, *next_state, *weights, *reward;
    double *rewards, *known;    /* [balancers] of the last step; the latest that was told */
    rllb_stats scale;           /* of rewards, until learning begins */
    double counter[COUNTS];
    ex_marl_row *rows;
    int32_t done, room;
    float *durations;
    size_t duration_count, duration_room;
    double lost;
    bool failed; /* no memory while it listened */
};

/* ---- by value ---- */

static void describe_replay(const ex_marl *m, rllb_nn_episodes_desc *d)
{
    d->steps = m->steps;
    d->episodes = m->s.replay;
    d->capacity = m->s.replay * (m->steps + 1);
}

static bool values_open(ex_marl *m)
{
    static const rllb_nn_mix mixes[] = { RLLB_NN_MIX_QMIX, RLLB_NN_MIX_SUM, RLLB_NN_MIX_NONE };
    const ex_marl_settings *s = &m->s;
    rllb_nn_qmix_desc d;

    rllb_nn_qmix_desc_default(&d);
    d.space = m->policy.space;
    d.net = m->policy.net;
    describe_replay(m, &d.replay);
    d.agents = m->agents;
    d.mix = mixes[s->algo];
    d.states = s->state == EX_MARL_STATE_WORLD && d.mix == RLLB_NN_MIX_QMIX ? m->most * RLLB_ENV_FLOWS_STATE : 0;
    d.embed = s->mixer;
    d.hyper = s->hidden;
    d.double_q = s->double_q;
    d.bounded = s->explore == EX_MARL_BOUNDED;
    d.sampled = s->explore != EX_MARL_EPSILON;
    d.gamma = s->gamma > 0 ? (float)s->gamma : -1;
    d.lambda = s->lambda > 0 ? (float)s->lambda : -1;
    d.opt.lr.from = s->lr;
    d.epsilon.curve = RLLB_NN_LINEAR_DECAY;
    d.epsilon.from = 1;
    d.epsilon.to = s->epsilon;
    d.epsilon.steps = (int64_t)s->epsilon_episodes * m->steps;
    d.batch = s->batch;
    d.window = s->window;
    d.learn_start = 1;
    d.target_every = s->target_every;
    d.tau = s->target_every > 0 ? 0 : (float)s->tau;
    d.seed = s->seed;
    m->values = rllb_nn_qmix_size(&d) ? rllb_nn_qmix_create(&d) : NULL;
    return m->values != NULL;
}

static void values_close(ex_marl *m)
{
    rllb_nn_qmix_destroy(m->values);
}

static void values_begin(ex_marl *m)
{
    rllb_nn_qmix_begin(m->values);
}

static rllb_status values_act(ex_marl *m, const float *obs, int32_t items, bool explore, float *action)
{
    return rllb_nn_qmix_act(m->values, obs, items, explore, action);
}

static rllb_status values_observe(ex_marl *m, const rllb_nn_step *step)
{
    return rllb_nn_qmix_observe(m->values, step);
}

static rllb_status values_update(ex_marl *m, report *sum)
{
    rllb_nn_qmix_report r;
    rllb_status status = rllb_nn_qmix_update(m->values, &r);

    if (status != RLLB_OK) return status;
    sum->loss += (double)r.loss;
    sum->value += (double)r.mean_value;
    return status;
}

static void values_entries(ex_marl *m, rllb_nn_archive *a)
{
    rllb_nn_qmix_entries(m->values, a);
}

static rllb_nn_net *values_net(ex_marl *m)
{
    return rllb_nn_qmix_net(m->values, 0);
}

/* ---- by actor and critic ---- */

static bool actor_open(ex_marl *m)
{
    const ex_marl_settings *s = &m->s;
    rllb_nn_sac_desc d;

    rllb_nn_sac_desc_default(&d);
    d.space = m->policy.space;
    d.actor = m->policy.net;
    if (s->algo == EX_MARL_RLB_SAC) { /* critics have one hidden layer */
        d.critic = d.actor;
        d.critic.hidden[1] = 0;
    }
    describe_replay(m, &d.replay);
    d.agents = m->agents;
    d.form = (rllb_nn_sac_form)s->sac_form;
    d.gamma = s->gamma > 0 ? (float)s->gamma : -1;
    d.tau = (float)s->tau;
    d.entropy = (float)s->entropy;
    d.reward_scale = s->reward_norm == EX_MARL_NORM_BATCH ? (float)s->reward_scale : 1;
    d.normalise_rewards = s->reward_norm == EX_MARL_NORM_BATCH;
    d.actor_opt.lr.from = d.critic_opt.lr.from = d.alpha_opt.lr.from = s->lr;
    d.batch = s->batch;
    d.window = s->window > 0 ? s->window : s->rnn == EX_MARL_GRU ? 0 : m->steps;
    d.learn_start = 1;
    d.seed = s->seed;
    m->actor = rllb_nn_sac_size(&d) ? rllb_nn_sac_create(&d) : NULL;
    return m->actor != NULL;
}

static void actor_close(ex_marl *m)
{
    rllb_nn_sac_destroy(m->actor);
}

static void actor_begin(ex_marl *m)
{
    rllb_nn_sac_begin(m->actor);
}

static rllb_status actor_act(ex_marl *m, const float *obs, int32_t items, bool explore, float *action)
{
    return rllb_nn_sac_act(m->actor, obs, items, explore, action);
}

static rllb_status actor_observe(ex_marl *m, const rllb_nn_step *step)
{
    return rllb_nn_sac_observe(m->actor, step);
}

static rllb_status actor_update(ex_marl *m, report *sum)
{
    rllb_nn_sac_report r;
    rllb_status status = rllb_nn_sac_update(m->actor, &r);

    if (status != RLLB_OK) return status;
    sum->loss += (double)r.critic_loss;
    sum->value += (double)r.mean_value;
    sum->entropy += (double)r.entropy;
    return status;
}

static void actor_entries(ex_marl *m, rllb_nn_archive *a)
{
    rllb_nn_sac_entries(m->actor, a);
}

static rllb_nn_net *actor_net(ex_marl *m)
{
    return rllb_nn_sac_actor(m->actor);
}

static const kind kinds[2] = {
    { values_open, values_close, values_begin, values_act, values_observe, values_update, values_entries, values_net },
    { actor_open, actor_close, actor_begin, actor_act, actor_observe, actor_update, actor_entries, actor_net },
};

/* ---- what is seen and done ---- */

static int32_t choices_of(int32_t actions)
{
    static const int32_t choices[] = { 6, 3, 9, 5, 0 };
    return choices[actions];
}

/* Weights by choice; and d, a and gamma of the draw form, in as many steps. */
static void describe_values(const ex_marl_settings *s, rllb_nn_policy_desc *p)
{
    int32_t n = choices_of(s->actions);

    switch (s->actions) {
    case EX_MARL_WIDE: rllb_nn_values_log(0.25f, 4, n, p->values); break;
    case EX_MARL_STEPS: rllb_nn_values_log(0.8f, 1.25f, n, p->values); break;
    case EX_MARL_CONTINUOUS:
        n = 2;
        rllb_nn_values_linear(0, 2, n, p->values);
        break;
    default: rllb_nn_values_linear(1, 2, n, p->values); break;
    }
    rllb_nn_values_log(1, 16, n, p->common[0]);
    rllb_nn_values_linear(0.5f, 1.5f, n, p->common[1]);
    rllb_nn_values_linear(0, 1, n, p->common[2]);
}

static void describe_net(const ex_marl_settings *s, rllb_nn_net_desc *d)
{
    rllb_nn_net_desc_default(d);
    d->hidden[0] = d->hidden[1] = s->hidden;
    if (s->rnn == EX_MARL_GRU) d->gru = s->hidden;
    if (s->rnn == EX_MARL_GRU || s->net == EX_MARL_SET) d->after[0] = s->hidden;
    d->normalise = true;
    d->layer_norm = s->algo == EX_MARL_DISTR_LB || s->algo == EX_MARL_RLB_SAC;
    if (s->algo == EX_MARL_RLB_SAC) d->activation = RLLB_NN_ELU;
    d->isa = (rllb_nn_isa)s->isa;
    d->portable = s->portable;
}

static void describe_space(ex_marl *m)
{
    int32_t together = m->joint ? m->s.balancers : 1, servers = m->most * together;
    rllb_nn_space *s = &m->policy.space;

    s->choices = choices_of(m->s.actions);
    s->last_action = m->s.algo != EX_MARL_RLB_SAC;
    if (m->set) {
        s->observations = m->globals * together;
        s->item_observations = m->per;
        s->items = servers;
        s->common = m->s.control_form ? 3 : 0;
    } else {
        s->observations = m->globals * together + m->per * servers;
        s->heads = servers;
    }
    m->seen = rllb_nn_space_observations(s);
    m->decided = rllb_nn_space_actions(s);
}

static void describe_model(ex_marl *m)
{
    const ex_marl_settings *s = &m->s;
    ex_model_info *info = &m->info;

    ex_model_info_default(info);
    info->features = s->features;
    info->form = RLLB_FORM_SED + s->form;
    info->d = (int32_t)s->draw.values[0];
    info->a = (float)s->draw.values[1];
    info->gamma = (float)s->draw.values[2];
    info->control_form = s->control_form;
    info->control_steps = s->actions == EX_MARL_STEPS;
    info->smoothing = (float)s->smoothing;
    info->interval_s = (float)s->interval;
    info->sample_s = (float)s->sample;
    snprintf(info->algorithm, sizeof info->algorithm, "%s", ex_marl_algo_names[s->algo]);
    snprintf(info->preset, sizeof info->preset, "%s", s->randomise ? "random" : ex_preset_names[s->preset]);
    info->seed = s->seed;
}

/* What a decision is worth as a number for a balancer. */
static float meaning(const ex_marl *m, const float *values, float decision)
{
    if (m->policy.space.choices) return values[(int32_t)decision];
    return values[0] + (values[1] - values[0]) * (0.5f * (decision + 1));
}

/* From agents' actions to a row for each balancer; how many numbers such a row has. */
static int32_t spell_out(ex_marl *m, int32_t servers)
{
    const rllb_nn_space *s = &m->policy.space;
    int32_t width = servers + s->common, b, j, k;
    float *to = m->weights;

    for (b = 0; b < m->s.balancers; b++, to += width) {
        const float *action = m->action + (m->joint ? 0 : b * m->decided), *common = action + s->items;
        if (m->joint) action += b * servers;
        for (j = 0; j < servers; j++) to[j] = meaning(m, m->policy.values, action[j]);
        for (k = 0; k < s->common; k++) to[servers + k] = meaning(m, m->policy.common[k], common[k]);
    }
    return width;
}

/* What the agents see now, and the state of all where somebody goes by it. */
static void look(ex_marl *m, rllb_env_flows *w, int32_t servers, float *obs, float *state)
{
    size_t globals = (size_t)m->globals, all = (size_t)(servers * m->per);
    int32_t b, together = m->joint ? m->s.balancers : 1, seen;

    if (m->set) memset(obs, 0, (size_t)m->agents * (size_t)m->seen * sizeof *obs);
    for (b = 0; b < m->s.balancers; b++) {
        const float *from = rllb_balancer_observe(rllb_env_flows_balancer(w, b), &seen);
        float *to = obs + (m->joint ? 0 : (size_t)b * (size_t)m->seen), *items = to + globals * (size_t)together;
        if (m->joint) to += globals * (size_t)b;
        if (m->joint) items += all * (size_t)b;
        memcpy(to, from, globals * sizeof *to);
        memcpy(items, from + globals, all * sizeof *to);
    }
    if (state) rllb_env_flows_state(w, state);
}

/* ---- rewards ---- */

/* While nothing was told yet, or nothing new, the latest counts, and 0 before that. */
static double told(double *known, double reward)
{
    if (reward == reward) *known = reward;
    return *known;
}

static double scaled(ex_marl *m, double reward)
{
    double deviation, z;

    if (m->s.reward_norm == EX_MARL_NORM_BATCH) return reward; /* the learner does it */
    if (m->s.reward_norm == EX_MARL_NORM_NONE) return reward * m->s.reward_scale;
    if (m->counter[COUNT_FROZEN] == 0) rllb_stats_add(&m->scale, reward);
    deviation = rllb_stats_stddev(&m->scale);
    z = deviation > 0 ? (reward - m->scale.mean) / deviation : 0;
    return (z > 10 ? 10 : z < -10 ? -10 : z) * m->s.reward_scale;
}

/* Each agent's reward for the learner; their mean, unscaled, is the answer. */
static double reward(ex_marl *m, const double *own, double shared, bool learn)
{
    bool one = m->joint || m->s.reward_of == EX_MARL_SHARED;
    double sum = 0;
    int32_t i;

    for (i = 0; i < m->agents; i++) {
        double r = told(&m->known[i], one ? shared : own[i]);
        sum += r;
        if (learn) m->reward[i] = (float)scaled(m, r);
    }
    return sum / m->agents;
}

/* ---- one episode ---- */

static void hear(void *self, const rllb_env_flow *f)
{
    ex_marl *m = self;

    if (f->fate != RLLB_ENV_COMPLETED) {
        m->lost++;
        return;
    }
    if (m->duration_count == m->duration_room) {
        size_t room = 2 * m->duration_room + 4096;
        float *more = realloc(m->durations, room * sizeof *more);
        if (!more) {
            m->failed = true;
            return;
        }
        m->durations = more;
        m->duration_room = room;
    }
    m->durations[m->duration_count++] = (float)(f->ended_s - f->arrived_s);
}

/* Mean and quantiles of what was heard. */
static void figures(ex_marl *m, ex_marl_row *row)
{
    int32_t n = (int32_t)m->duration_count, i;
    double sum = 0, none = (double)NAN;

    for (i = 0; i < n; i++) sum += (double)m->durations[i];
    row->completed = n;
    row->lost = n + m->lost > 0 ? m->lost / (n + m->lost) : none;
    row->jct_mean = n > 0 ? sum / n : none;
    row->jct_p90 = n > 0 ? (double)rllb_quantile(m->durations, n, 0.9) : none;
    row->jct_p99 = n > 0 ? (double)rllb_quantile(m->durations, n, 0.99) : none;
}

/* Into the balancers of a world, whoever made it. */
static void staff(const ex_marl *m, rllb_env_flows_desc *d)
{
    rllb_guard guard = d->balancer.guard;

    ex_model_info_apply(&m->info, &d->balancer);
    d->balancer.guard = guard;
    d->balancer.policy = RLLB_BALANCE_LEARNED;
    d->balancer.reward = (rllb_reward)m->s.reward;
    d->balancers = m->s.balancers;
    d->step_s = m->s.interval;
    d->horizon_s = m->s.horizon;
    if (m->s.sample > 0) d->sample_s = m->s.sample;
}

static void draw_world(ex_marl *m, uint64_t seed)
{
    ex_world_limits limits = ex_world_limits_default;

    limits.balancers[0] = limits.balancers[1] = m->s.balancers;
    limits.servers[1] = m->s.servers;
    if (limits.servers[0] > limits.servers[1]) limits.servers[0] = limits.servers[1];
    limits.longest_s = m->s.horizon;
    ex_world_draw(&limits, seed, &m->drawn);
}

static double rate_of(const ex_marl *m, int32_t number)
{
    return m->s.rates.count > 0 ? m->s.rates.values[number % m->s.rates.count] : m->flows.desc.rate;
}

/* The world with that number of a stream and seed, which give everything in it. */
static bool make_world(ex_marl *m, int32_t number, uint64_t seed, uint64_t stream, ex_pages *pages,
                       rllb_env_flows_desc *d)
{
    rllb_rng rng;

    rllb_rng_init(&rng, (seed << 32) + (uint64_t)number, stream);
    if (m->s.randomise) draw_world(m, rllb_rng_u64(&rng));
    *d = m->s.randomise ? m->drawn.desc : m->flows.desc;
    if (!m->s.randomise) d->rate = rate_of(m, number);
    staff(m, d);
    if (m->s.randomise && m->drawn.duration_s < d->horizon_s) d->horizon_s = m->drawn.duration_s;
    d->seed = rllb_rng_u64(&rng);
    d->stream = stream;
    if (!m->s.pages) return true;
    if (!ex_pages_make(pages, d->rate, d->work_s, m->s.horizon + 1, rllb_rng_u64(&rng))) return false;
    d->trace = &pages->trace;
    d->rate = pages->rate;
    d->work_s = pages->work_s;
    return true;
}

bool ex_marl_world(ex_marl *m, int32_t number, ex_pages *pages, rllb_env_flows_desc *d)
{
    return make_world(m, number, 0, EX_MARL_STREAM + 1, pages, d);
}

static int diverged(const ex_marl *m, rllb_status status)
{
    return ex_fail("seed %llu: episode %d, update %.0f: %s", (unsigned long long)m->s.seed, (int)m->done + 1,
                   m->counter[COUNT_UPDATES] + 1, rllb_status_words(status));
}

static int learn(ex_marl *m, report *sum)
{
    int32_t i;

    for (i = 0; i < m->s.updates; i++) {
        rllb_status status = m->how->update(m, sum);
        if (status == RLLB_ERROR_EMPTY) return EX_OK; /* the first episode is not over */
        if (status != RLLB_OK) return diverged(m, status);
        sum->updates++;
        m->counter[COUNT_UPDATES]++;
    }
    return EX_OK;
}

/* One step, from what is seen in m->obs to what is in m->next. */
static rllb_status step(ex_marl *m, rllb_env_flows *w, int32_t servers, bool explore, double *sum, bool *over)
{
    int32_t items = m->set ? servers * (m->joint ? m->s.balancers : 1) : 0, width;
    rllb_nn_step s;
    rllb_status status;
    double shared;

    status = m->how->act(m, m->obs, items, explore, m->action);
    if (status != RLLB_OK) return status;
    width = spell_out(m, servers);
    status = rllb_env_flows_step(w, m->weights, width, m->rewards, &shared, NULL, over);
    if (status != RLLB_OK) return status;
    look(m, w, servers, m->next, m->next_state);
    *sum += reward(m, m->rewards, shared, explore);
    if (!explore) return RLLB_OK;
    memset(&s, 0, sizeof s);
    s.obs = m->obs;
    s.next = m->next;
    s.state = m->state;
    s.next_state = m->next_state;
    s.action = m->action;
    s.reward = m->reward;
    s.items = items;
    s.truncated = *over;
    return m->how->observe(m, &s);
}

static void swap(float **a, float **b)
{
    float *c = *a;

    *a = *b;
    *b = c;
}

/* An episode in a world; explore: it is remembered, too, and with every_step learnt from on the way. The first interval
   goes by with all weights as they were told: a balancer in service asks its controller after it for the first time,
   too. */
static int live(ex_marl *m, rllb_env_flows *w, int32_t servers, bool explore, report *sum, double *rewards)
{
    int32_t steps = 0, status = EX_OK;
    bool over = false;
    double shared;

    m->how->begin(m);
    memset(m->known, 0, (size_t)m->s.balancers * sizeof *m->known);
    rllb_env_flows_step(w, NULL, 0, m->rewards, &shared, NULL, &over);
    reward(m, m->rewards, shared, false);
    look(m, w, servers, m->obs, m->state);
    while (!over && status == EX_OK) {
        rllb_status is = step(m, w, servers, explore, rewards, &over);
        if (is != RLLB_OK) return ex_fail("seed %llu: episode %d, step %d: %s", (unsigned long long)m->s.seed,
                                          (int)m->done + 1, (int)steps + 1, rllb_status_words(is));
        swap(&m->obs, &m->next);
        swap(&m->state, &m->next_state);
        steps++;
        if (explore && m->s.every_step && m->done * m->steps + steps > m->s.learn_start) status = learn(m, sum);
    }
    m->how->begin(m);
    *rewards /= steps > 0 ? steps : 1;
    return status;
}

static int in_world(ex_marl *m, const rllb_env_flows_desc *d, bool explore, report *sum, ex_marl_row *row)
{
    rllb_env_flows *w;
    int status;

    m->duration_count = 0;
    m->lost = 0;
    m->failed = false;
    row->rate = d->rate;
    if (rllb_env_flows_size(d) == 0) return ex_fail("these settings make no world");
    w = rllb_env_flows_create(d);
    if (!w) return ex_fail("no memory for the world");
    rllb_env_flows_listen(w, hear, m);
    status = live(m, w, d->count, explore, sum, &row->reward);
    rllb_env_flows_destroy(w);
    if (m->failed) return ex_fail("no memory for the durations of an episode");
    figures(m, row);
    return status;
}

static bool make_room(ex_marl *m)
{
    int32_t room = m->room * 2 + 64;
    ex_marl_row *more;

    if (m->done < m->room) return true;
    more = realloc(m->rows, (size_t)room * sizeof *more);
    if (!more) return ex_fail("no memory for the learning curve") == EX_OK;
    m->rows = more;
    m->room = room;
    return true;
}

static void finish_row(const ex_marl *m, const report *sum, ex_marl_row *row)
{
    double n = sum->updates, none = (double)NAN;

    row->updates = m->counter[COUNT_UPDATES];
    row->loss = n > 0 ? sum->loss / n : none;
    row->value = n > 0 ? sum->value / n : none;
    row->explore = m->values ? rllb_nn_qmix_epsilon(m->values) : n > 0 ? sum->entropy / n : none;
    row->alpha = m->actor ? (double)rllb_nn_sac_alpha(m->actor) : none;
}

int ex_marl_episode(ex_marl *m, ex_marl_row *row)
{
    double from = ex_clock_s();
    ex_pages pages = { 0 };
    report sum = { 0, 0, 0, 0 };
    rllb_env_flows_desc d;
    int status = EX_FAILED;

    memset(row, 0, sizeof *row);
    row->episode = m->done + 1;
    if (make_room(m) && make_world(m, m->done, m->s.seed, EX_MARL_STREAM, &pages, &d)) {
        status = in_world(m, &d, true, &sum, row);
    }
    ex_pages_free(&pages);
    if (m->s.every_step || m->done + 1 >= m->s.learn_start) m->counter[COUNT_FROZEN] = 1;
    if (status == EX_OK && !m->s.every_step && m->done + 1 > m->s.learn_start) status = learn(m, &sum);
    if (status != EX_OK) return status;
    finish_row(m, &sum, row);
    m->rows[m->done++] = *row;
    row->seconds = ex_clock_s() - from;
    return EX_OK;
}

int ex_marl_judge(ex_marl *m, int32_t number, ex_marl_row *row)
{
    double from = ex_clock_s();
    ex_pages pages = { 0 };
    report sum = { 0, 0, 0, 0 };
    rllb_env_flows_desc d;
    int status = EX_FAILED;

    memset(row, 0, sizeof *row);
    row->episode = m->done;
    if (ex_marl_world(m, number, &pages, &d)) status = in_world(m, &d, false, &sum, row);
    ex_pages_free(&pages);
    finish_row(m, &sum, row);
    row->seconds = ex_clock_s() - from;
    return status;
}

/* ---- made and gone ---- */

static bool open_buffers(ex_marl *m)
{
    size_t seen = (size_t)m->agents * (size_t)m->seen, balancers = (size_t)m->s.balancers;
    size_t state = (size_t)m->most * RLLB_ENV_FLOWS_STATE;

    m->obs = calloc(seen, sizeof *m->obs);
    m->next = calloc(seen, sizeof *m->next);
    m->state = calloc(state, sizeof *m->state);
    m->next_state = calloc(state, sizeof *m->next_state);
    m->action = calloc((size_t)m->agents * (size_t)m->decided, sizeof *m->action);
    m->weights = calloc(balancers * ((size_t)m->most + 3), sizeof *m->weights);
    m->reward = calloc(balancers, sizeof *m->reward);
    m->rewards = calloc(balancers, sizeof *m->rewards);
    m->known = calloc(balancers, sizeof *m->known);
    return m->obs && m->next && m->state && m->next_state && m->action && m->weights && m->reward && m->rewards &&
           m->known;
}

static bool open_world(ex_marl *m)
{
    ex_flows_how how = { 0 };

    how.preset = m->s.preset;
    how.servers = m->s.randomise ? 0 : m->s.servers;
    how.weights = m->s.weights;
    return ex_flows_open(&m->flows, &how);
}

ex_marl *ex_marl_create(const ex_marl_settings *s)
{
    ex_marl *m = calloc(1, sizeof *m);
    bool ok = m && ex_marl_settings_check(s) == EX_OK;

    if (!m) ex_fail("no memory for a learner");
    if (ok) {
        m->s = *s;
        settle(&m->s);
        m->how = &kinds[by_value(s->algo) ? 0 : 1];
        m->joint = s->algo == EX_MARL_SSAC;
        m->set = s->net == EX_MARL_SET;
        m->agents = m->joint ? 1 : m->s.balancers;
        m->most = m->s.servers;
        m->steps = (int32_t)ceil(s->horizon / s->interval - 1e-9);
        ex_features_shape(s->features, &m->globals, &m->per);
        describe_model(m);
        describe_space(m);
        describe_net(s, &m->policy.net);
        describe_values(s, &m->policy);
        ok = open_world(m);
    }
    if (ok && (!open_buffers(m) || !m->how->open(m))) {
        ok = ex_fail("no memory for %s with these settings: fewer --batch, --window or --hidden take less",
                     ex_marl_algo_names[s->algo]) == EX_OK;
    }
    if (ok) return m;
    ex_marl_destroy(m);
    return NULL;
}

void ex_marl_destroy(ex_marl *m)
{
    if (!m) return;
    if (m->how) m->how->close(m);
    ex_flows_close(&m->flows);
    free(m->obs);
    free(m->next);
    free(m->state);
    free(m->next_state);
    free(m->action);
    free(m->weights);
    free(m->reward);
    free(m->rewards);
    free(m->known);
    free(m->rows);
    free(m->durations);
    free(m);
}

const ex_marl_settings *ex_marl_query(const ex_marl *m)
{
    return &m->s;
}

int32_t ex_marl_episodes(const ex_marl *m)
{
    return m->done;
}

const ex_marl_row *ex_marl_rows(const ex_marl *m)
{
    return m->rows;
}

bool ex_marl_model(ex_marl *m, int32_t agent, rllb_nn_policy **policy, ex_model_info *info)
{
    rllb_nn_policy_desc d = m->policy;

    (void)agent; /* all are alike */
    *policy = NULL;
    *info = m->info;
    info->episodes = m->done;
    if (m->joint && m->s.balancers > 1) {
        ex_fail("ssac: one network for %d balancers serves none of them by itself", (int)m->s.balancers);
        return false;
    }
    *policy = rllb_nn_policy_create(&d);
    if (!*policy) ex_fail("no memory for the policy");
    return *policy && rllb_nn_net_copy(rllb_nn_policy_net(*policy), m->how->net(m)) == RLLB_OK;
}

/* ---- checkpoints --------------------------------------------------------------------------------------------- */

enum { ENTRIES = RLLB_NN_LEARNER_ENTRIES_MAX };

/* The learner, the scale of its rewards, the curve. One list serves both ways. */
static void checkpoint_list(ex_marl *m, rllb_nn_archive *a)
{
    m->how->entries(m, a);
    rllb_nn_archive_add(a, "marl.scale.count", RLLB_NN_I64, 2, 0, &m->scale.count); /* and the refused */
    rllb_nn_archive_add(a, "marl.scale.mean", RLLB_NN_F64, 4, 0, &m->scale.mean); /* and the three behind it */
    rllb_nn_archive_add(a, "marl.counters", RLLB_NN_F64, COUNTS, 0, m->counter);
    if (m->done > 0) rllb_nn_archive_add(a, "marl.rows", RLLB_NN_F64, m->done, EX_MARL_COLUMNS, m->rows);
}

bool ex_marl_save(ex_marl *m, const char *path)
{
    static rllb_nn_entry entries[ENTRIES];
    rllb_nn_archive archive = { entries, 0, ENTRIES, 0 };
    char text[SETUP_TEXT];
    rllb_nn_meta meta[2];
    unsigned char *bytes;
    size_t size;
    bool ok;

    checkpoint_list(m, &archive);
    meta[0].key = "marl";
    meta[0].value = setup_text(&m->s, text);
    meta[1].key = "isa";
    meta[1].value = rllb_nn_kernels_name(rllb_nn_net_kernels(m->how->net(m)));
    size = rllb_nn_archive_size(&archive, meta, 2);
    bytes = size ? malloc(size) : NULL;
    if (bytes && rllb_nn_archive_save(&archive, meta, 2, bytes, size) == RLLB_OK) {
        ok = ex_file_write(path, bytes, size);
    } else {
        ok = ex_fail("cannot write %s: no memory", path) == EX_OK;
    }
    free(bytes);
    return ok;
}

/* Numbers out of a damaged file must not lead anywhere. */
static bool loaded_ok(const ex_marl *m)
{
    const rllb_stats *s = &m->scale;
    int32_t i;

    for (i = 0; i < m->done; i++) {
        if (!(m->rows[i].episode == i + 1) || !isfinite(m->rows[i].rate)) return false;
    }
    if (s->count < 0 || s->count > (int64_t)1 << 48 || !isfinite(s->mean) || !(s->m2 >= 0) || !isfinite(s->m2)) {
        return false;
    }
    return m->counter[COUNT_UPDATES] >= 0 && m->counter[COUNT_UPDATES] < 1e15 &&
           (m->counter[COUNT_FROZEN] == 0 || m->counter[COUNT_FROZEN] == 1);
}

static int checkpoint_read(ex_marl *m, const ex_text *file, const char *path)
{
    static rllb_nn_entry entries[ENTRIES];
    rllb_nn_archive archive = { entries, 0, ENTRIES, 0 };
    rllb_nn_dtype dtype;
    ex_detail detail = { "" };
    rllb_logger logger;
    char was[SETUP_TEXT], is[SETUP_TEXT], words[200];
    int64_t rows = 0, columns = 0;
    size_t offset;
    rllb_status status;

    logger.fn = ex_detail_log;
    logger.user = &detail;
    status = rllb_nn_file_check(file->data, file->size, &logger);
    if (status != RLLB_OK) return ex_fail("%s: not a checkpoint: %s", path, rllb_status_words(status));
    if (rllb_nn_file_meta(file->data, file->size, "marl", was, sizeof was) != RLLB_OK) {
        return ex_fail("%s: not a checkpoint of a balancing learner", path);
    }
    if (strcmp(was, setup_text(&m->s, is)) != 0) {
        ex_setup_differ(was, is, words);
        return ex_usage("resume", "%s began with %s; a run goes on with the settings it began with", path, words);
    }
    if (rllb_nn_file_query(file->data, file->size, "marl.rows", &dtype, &rows, &columns, &offset) != RLLB_OK) rows = 0;
    if (rows > m->s.episodes) {
        return ex_usage("episodes", "%d, but %s has done %lld already", (int)m->s.episodes, path, (long long)rows);
    }
    for (m->done = 0; m->done < rows; m->done++) {
        if (!make_room(m)) return EX_FAILED;
    }
    checkpoint_list(m, &archive);
    status = rllb_nn_archive_load(&archive, file->data, file->size, &logger);
    if (status == RLLB_OK && !loaded_ok(m)) {
        status = RLLB_ERROR_FORMAT;
        snprintf(detail.text, sizeof detail.text, "marl.rows");
    }
    if (status != RLLB_OK) {
        return ex_fail("%s: not a checkpoint of this run: %s: %s", path, detail.text, rllb_status_words(status));
    }
    if (rllb_nn_file_meta(file->data, file->size, "isa", was, sizeof was) == RLLB_OK && m->done < m->s.episodes &&
        strcmp(was, rllb_nn_kernels_name(rllb_nn_net_kernels(m->how->net(m)))) != 0) {
        ex_warn("%s was computed with %s and goes on with %s: not bit for bit", path, was,
                rllb_nn_kernels_name(rllb_nn_net_kernels(m->how->net(m))));
    }
    return EX_OK;
}

int ex_marl_load(ex_marl *m, const char *path)
{
    ex_text file = { 0 };
    int status;

    if (access(path, F_OK) != 0) return EX_GO_ON;
    if (!ex_file_read(path, (size_t)1 << 32, &file)) return EX_FAILED;
    status = checkpoint_read(m, &file, path);
    ex_text_free(&file);
    return status;
}
