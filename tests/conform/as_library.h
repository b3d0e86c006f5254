/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Forced in front of every case of the library suite (-include): the calls of the
 * cases become those of libafunix.  The macros take arguments, so that a structure of
 * the same name (struct sigaction, struct stat, struct poll...) keeps its name.
 */
#ifndef CONFORM_AS_LIBRARY_H
#define CONFORM_AS_LIBRARY_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

/* Whatever declares one of the names below has to come before the macros. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <afunix/afunix.h>

#define CONFORM_LIBRARY 1

#define socket(...) afunix_socket(__VA_ARGS__)
#define socketpair(...) afunix_socketpair(__VA_ARGS__)
#define bind(...) afunix_bind(__VA_ARGS__)
#define listen(...) afunix_listen(__VA_ARGS__)
#define accept(...) afunix_accept(__VA_ARGS__)
#define accept4(...) afunix_accept4(__VA_ARGS__)
#define connect(...) afunix_connect(__VA_ARGS__)
#define getsockname(...) afunix_getsockname(__VA_ARGS__)
#define getpeername(...) afunix_getpeername(__VA_ARGS__)
#define getsockopt(...) afunix_getsockopt(__VA_ARGS__)
#define setsockopt(...) afunix_setsockopt(__VA_ARGS__)
#define shutdown(...) afunix_shutdown(__VA_ARGS__)
#define sockatmark(...) afunix_sockatmark(__VA_ARGS__)

#define read(...) afunix_read(__VA_ARGS__)
#define write(...) afunix_write(__VA_ARGS__)
#define readv(...) afunix_readv(__VA_ARGS__)
#define writev(...) afunix_writev(__VA_ARGS__)
#define recv(...) afunix_recv(__VA_ARGS__)
#define send(...) afunix_send(__VA_ARGS__)
#define recvfrom(...) afunix_recvfrom(__VA_ARGS__)
#define sendto(...) afunix_sendto(__VA_ARGS__)
#define recvmsg(...) afunix_recvmsg(__VA_ARGS__)
#define sendmsg(...) afunix_sendmsg(__VA_ARGS__)
#define recvmmsg(...) afunix_recvmmsg(__VA_ARGS__)
#define sendmmsg(...) afunix_sendmmsg(__VA_ARGS__)

#define close(...) afunix_close(__VA_ARGS__)
#define close_range(...) afunix_close_range(__VA_ARGS__)
#define dup(...) afunix_dup(__VA_ARGS__)
#define dup2(...) afunix_dup2(__VA_ARGS__)
#define dup3(...) afunix_dup3(__VA_ARGS__)
#define fcntl(...) afunix_fcntl(__VA_ARGS__)
#define ioctl(...) afunix_ioctl(__VA_ARGS__)
#define fstat(...) afunix_fstat(__VA_ARGS__)

#define poll(...) afunix_poll(__VA_ARGS__)
#define ppoll(...) afunix_ppoll(__VA_ARGS__)
#define select(...) afunix_select(__VA_ARGS__)
#define pselect(...) afunix_pselect(__VA_ARGS__)
#define epoll_create(...) afunix_epoll_create(__VA_ARGS__)
#define epoll_create1(...) afunix_epoll_create1(__VA_ARGS__)
#define epoll_ctl(...) afunix_epoll_ctl(__VA_ARGS__)
#define epoll_wait(...) afunix_epoll_wait(__VA_ARGS__)
#define epoll_pwait(...) afunix_epoll_pwait(__VA_ARGS__)
#define epoll_pwait2(...) afunix_epoll_pwait2(__VA_ARGS__)

#define fork(...) afunix_fork(__VA_ARGS__)
#define sigaction(...) afunix_sigaction(__VA_ARGS__)

#endif
