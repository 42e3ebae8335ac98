/* status.h - what the `rllb_status` handler shows: JSON, or Prometheus' text format */

#ifndef NX_STATUS_H
#define NX_STATUS_H

#include "site.h"

#include <ngx_http.h>

/* Of the directive `rllb_status [json|prometheus];` */
char *nx_status_set(ngx_conf_t *cf, ngx_command_t *command, void *conf);

/* All sites into an array of nx_site *. False: no memory. */
bool nx_status_sites(ngx_array_t *sites);

#endif
