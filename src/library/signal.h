/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Signal handlers and critical sections.
 *
 * Handlers that the application installs run behind a trampoline.  If the signal
 * interrupted a critical section of ours, the trampoline blocks the signal, sends
 * it to the thread again, and returns; the end of the section unblocks it, and the
 * kernel delivers it there with the mask and the context that belong to it.
 * The trampoline also counts handlers, so that a call which is about to sleep
 * notices one that ran a moment before.
 */
#ifndef AFU_LIBRARY_SIGNAL_H
#define AFU_LIBRARY_SIGNAL_H

void afu_signal_start(void);
void afu_signal_forked(void);

#endif
