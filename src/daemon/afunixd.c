/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * afunixd [--expose[=GLOB]]... NAME: serves a lasting domain in the foreground until SIGTERM or SIGINT.
 */
#include "gate/domain_path.h"
#include "daemon/globs.h"
#include "daemon/server.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int usage(FILE *to, int status)
{
	fputs("usage: afunixd [--expose[=GLOB]]... NAME\n"
	      "Serves the afunix domain NAME until SIGTERM. Programs join it with\n"
	      "'afunix run --domain NAME -- PROGRAM'.\n\n"
	      "--expose lets programs outside the domain connect to the names in it that fit\n"
	      "GLOB, through the kernel: paths, or abstract names if it begins with @. Without\n"
	      "GLOB, to all paths.\n", to);
	return status;
}

static int serve(const char *name, const struct afu_globs *exposed)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct afu_address address;
	struct afu_server *server;
	sigset_t stop;
	int err, until;

	err = afu_domain_path(name, path, sizeof path);
	if (!err)
		err = afu_address_parse(path, &address);
	if (err) {
		fprintf(stderr, "afunixd: '%s' is no name for a domain\n", name);
		return 2;
	}
	err = afu_domain_directory(path);
	if (err) {
		fprintf(stderr, "afunixd: cannot make the directory of %s: %s\n", path, strerror(-err));
		return 1;
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	signal(SIGIO, SIG_IGN); /* a broken lease of the broker's */
	until = signalfd(-1, &stop, SFD_CLOEXEC);
	err = afu_server_new(&address, &server);
	if (err) {
		if (err == -EADDRINUSE)
			fprintf(stderr, "afunixd: domain '%s' is served already (%s)\n", name, path);
		else
			fprintf(stderr, "afunixd: cannot serve %s: %s\n", path, strerror(-err));
		return 1;
	}
	if (exposed->length)
		err = afu_server_expose(server, exposed->bytes, exposed->length);
	chmod(path, 0666); /* who may join is the directory's business */
	if (!err)
		err = afu_server_run(server, until);
	afu_server_free(server);
	if (err)
		fprintf(stderr, "afunixd: %s\n", strerror(-err));
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "expose", optional_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	static struct afu_globs exposed;
	int c;

	while ((c = getopt_long(argc, argv, "+hV", options, NULL)) != -1) {
		switch (c) {
		case 'x':
			if (afu_globs_add(&exposed, optarg) < 0) {
				fprintf(stderr, "afunixd: cannot expose '%s'\n", optarg ? optarg : "");
				return 2;
			}
			break;
		case 'h':
			return usage(stdout, 0);
		case 'V':
			puts("afunixd " AFUNIX_VERSION);
			return 0;
		default:
			return usage(stderr, 2);
		}
	}
	if (optind + 1 != argc)
		return usage(stderr, 2);
	return serve(argv[optind], &exposed);
}
