/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Changes of a process's ids.
 *
 * A message says as whom its sender speaks, if somebody asked for that.  Instead of three
 * system calls for each message, the library looks at the ids again only when one of
 * these has been called.  Effective ids alone do not matter: it is the real ones that
 * the kernel puts into a message.
 */
#include "library/speaker.h"
#include "preload/interpose.h"

#include <unistd.h>

/* Before the real one: what is to be done as who the process is now. */
static void changing(void)
{
	if (afu_preload_active())
		afu_speaker_changing();
}

/* After the real one, whatever came of it. */
static int changed(int result)
{
	if (afu_preload_active())
		afu_speaker_changed();
	return result;
}

AFU_INTERPOSE(int, setuid, uid_t uid)
{
	changing();
	return changed(AFU_REAL(setuid)(uid));
}

AFU_INTERPOSE(int, setgid, gid_t gid)
{
	changing();
	return changed(AFU_REAL(setgid)(gid));
}

AFU_INTERPOSE(int, setreuid, uid_t real, uid_t effective)
{
	changing();
	return changed(AFU_REAL(setreuid)(real, effective));
}

AFU_INTERPOSE(int, setregid, gid_t real, gid_t effective)
{
	changing();
	return changed(AFU_REAL(setregid)(real, effective));
}

AFU_INTERPOSE(int, setresuid, uid_t real, uid_t effective, uid_t saved)
{
	changing();
	return changed(AFU_REAL(setresuid)(real, effective, saved));
}

AFU_INTERPOSE(int, setresgid, gid_t real, gid_t effective, gid_t saved)
{
	changing();
	return changed(AFU_REAL(setresgid)(real, effective, saved));
}
