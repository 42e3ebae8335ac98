/* cgroups.h - processes under a quota of the CPU: Linux's control groups, of version 1 or 2

   A group is a folder below the root, by its whole path. What is false has said why in errno. */

#ifndef EX_CGROUPS_H
#define EX_CGROUPS_H

#include <stdbool.h>
#include <stdint.h>

/* Where groups that limit the CPU are made; NULL: not here. */
const char *ex_cgroup_root(void);
bool ex_cgroup_make(const char *group);
/* So many CPUs together in each period; 0: as many as there are. */
bool ex_cgroup_quota(const char *group, double cpus, int32_t period_us);
/* The process that calls this moves there; its children begin there. */
bool ex_cgroup_enter(const char *group);
/* Kills whatever is in it, until it is gone; after three seconds it is left as it is. */
void ex_cgroup_remove(const char *group);

#endif
