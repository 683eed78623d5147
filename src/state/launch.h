/*
 * launch.json and exit.json: what `ember` tells a keeper, and what a keeper leaves behind.
 */
#pragma once

#include "model/launch.h"
#include "util/error.h"

int launch_plan_write(const char *path, const LaunchPlan *plan, Error **err);
int launch_plan_read(const char *path, LaunchPlan *out_plan, Error **err);

int exit_report_write(const char *path, const ExitReport *report, Error **err);
/* ERR_NOT_FOUND when the VM left none. */
int exit_report_read(const char *path, ExitReport *out_report, Error **err);
