/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Forking, and children that were reaped. */
#ifndef AFU_LIBRARY_PROCESS_H
#define AFU_LIBRARY_PROCESS_H

void afu_process_start(void);

#endif
