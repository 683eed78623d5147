/*
 * Help, made from the table: the overview, one noun, one command.
 */
#pragma once

#include "cli/cmd.h"

/* The text for what `invocation` names, down to the newline at its end; owned. */
char *help_text(const Cmd *root, const Option *globals, const Invocation *invocation);
/* Print it. */
void help_show(App *app, const Invocation *invocation);
