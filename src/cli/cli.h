/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The subcommands of afunix: each takes its own argv and returns the exit status. */
#ifndef AFU_CLI_CLI_H
#define AFU_CLI_CLI_H

int afu_cli_run(int argc, char **argv);
int afu_cli_errors(int argc, char **argv);

#endif
