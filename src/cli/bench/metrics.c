/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The rows of the table; see metrics.h for what the columns mean.
 *
 * The order is that of the report: round trips, throughput, messages, what goes with them,
 * connections, readiness, and what a connection or the mere presence of afunix costs.
 */
#include "cli/bench/metrics.h"

#include <string.h>
#include <sys/socket.h>

/* The columns that most rows share, so that a row shows what is particular to it. */
#define LOWER .higher_is_better = false
#define HIGHER .higher_is_better = true
#define CROSS .place = AFU_BENCH_CROSS, .nonblocking = true
#define SAME .place = AFU_BENCH_SAME
#define FREE .place = AFU_BENCH_FREE
#define DGRAM .type = SOCK_DGRAM
#define SEQPACKET .type = SOCK_SEQPACKET

const struct afu_bench_metric afu_bench_metrics[] = {
	{"rtt_64_cross", "us", "round trip of 64 B between two processes, each on its own processor", LOWER,
	 CROSS, .measure = afu_bench_rtt, .size = 64},
	{"rtt_64_same_cpu", "us", "round trip of 64 B between two processes on one processor", LOWER, SAME,
	 .measure = afu_bench_rtt, .size = 64},
	{"rtt_64_paced", "us", "round trip of 64 B across processors, one each millisecond", LOWER, CROSS,
	 .measure = afu_bench_rtt_paced, .size = 64},
	{"rtt_64_paced_free", "us", "one round trip each millisecond, both processes placed by the scheduler",
	 LOWER, FREE, .measure = afu_bench_rtt_paced, .size = 64},
	{"rtt_64_oversubscribed", "us",
	 "wall time per round trip of 64 B, four pairs of processes on two processors", LOWER, FREE,
	 .measure = afu_bench_rtt_oversubscribed, .size = 64, .connections = 4},
	{"rtt_256k", "us", "round trip of 256 KiB each way across processors", LOWER, CROSS,
	 .measure = afu_bench_rtt, .size = 256 * 1024},

	{"tput_64", "M/s", "messages of 64 B one way across processors, received 64 KiB at a time", HIGHER,
	 CROSS, .measure = afu_bench_messages, .size = 64},
	{"tput_1k", "GB/s", "one way in sends of 1 KiB across processors", HIGHER, CROSS,
	 .measure = afu_bench_bandwidth, .size = 1024},
	{"tput_16k", "GB/s", "one way in sends of 16 KiB across processors", HIGHER, CROSS,
	 .measure = afu_bench_bandwidth, .size = 16 * 1024},
	{"bw_256k", "GB/s", "one way in sends of 256 KiB across processors", HIGHER, CROSS,
	 .measure = afu_bench_bandwidth, .size = 256 * 1024},

	{"dgram_rtt_64", "us", "as rtt_64_cross, datagrams between two sockets connected to each other",
	 LOWER, CROSS, DGRAM, .measure = afu_bench_rtt, .size = 64},
	{"dgram_tput_64", "M/s", "datagrams of 64 B one way between such sockets, across processors", HIGHER,
	 CROSS, DGRAM, .measure = afu_bench_messages, .size = 64},
	{"dgram_fan_in_64", "k/s",
	 "datagrams of 64 B from 64 processes on one processor to a receiver on the other", HIGHER,
	 .place = AFU_BENCH_CROSS, DGRAM, .measure = afu_bench_fan_in, .size = 64, .connections = 64},
	{"seqpacket_rtt_64", "us", "as rtt_64_cross, over SOCK_SEQPACKET", LOWER, CROSS, SEQPACKET,
	 .measure = afu_bench_rtt, .size = 64},
	{"seqpacket_tput_64", "M/s", "packets of 64 B one way across processors, received one at a time",
	 HIGHER, CROSS, SEQPACKET, .measure = afu_bench_messages, .size = 64},

	{"fd_pass", "us",
	 "a byte with a descriptor of a pipe, one way across processors: send, receive and close", LOWER,
	 CROSS, .measure = afu_bench_pass_descriptor, .size = 1},
	{"cred_pass", "us", "a byte with the sender's credentials (SO_PASSCRED), one way across processors",
	 LOWER, CROSS, .measure = afu_bench_pass_credentials, .size = 1},

	{"connect_cross", "us",
	 "socket, connect, end of file from accept and close, close; across processors", LOWER, CROSS,
	 .measure = afu_bench_connect},
	{"connect_same_cpu", "us", "the same on one processor", LOWER, SAME, .measure = afu_bench_connect},
	{"connect_stream_cross", "us",
	 "socket, connect, close without waiting for the server's accept and close", LOWER, CROSS,
	 .measure = afu_bench_connect_stream},
	{"connect_stream_same_cpu", "us", "the same on one processor", LOWER, SAME,
	 .measure = afu_bench_connect_stream},
	{"connect_request", "us", "connect, request of 64 B, answer of 64 B, close; across processors", LOWER,
	 CROSS, .measure = afu_bench_connect_request, .size = 64},

	{"epoll_1", "k/s",
	 "requests to an epoll server with 1 us of work each, 1 connection, across processors", HIGHER, CROSS,
	 .measure = afu_bench_epoll, .size = 64, .connections = 1, .work_ns = 1000},
	{"epoll_1_echo", "k/s", "the same without the work", HIGHER, CROSS, .measure = afu_bench_epoll,
	 .size = 64, .connections = 1},
	{"epoll_50", "k/s", "as epoll_1, 50 connections with one request each", HIGHER, CROSS,
	 .measure = afu_bench_epoll, .size = 64, .connections = 50, .work_ns = 1000},
	{"epoll_50_same_cpu", "k/s", "as epoll_50, client and server on one processor", HIGHER, SAME,
	 .measure = afu_bench_epoll, .size = 64, .connections = 50, .work_ns = 1000},

	{"idle_memory", "KB", "memory of an idle connection: both processes, broker, kernel", LOWER, FREE,
	 .measure = afu_bench_idle_memory, .size = 64, .connections = 2000},
	{"idle_fds", "fds", "descriptors of an idle connection: both processes and the broker", LOWER, FREE,
	 .measure = afu_bench_idle_fds, .size = 64, .connections = 500},
	{"bystander_read", "ns", "read of 64 B of /dev/zero by a program that has no socket; best round",
	 LOWER, SAME, .measure = afu_bench_bystander_read, .best = true, .size = 64},
};

const size_t afu_bench_metric_count = sizeof(afu_bench_metrics) / sizeof(afu_bench_metrics[0]);

const struct afu_bench_metric *afu_bench_metric_find(const char *name)
{
	for (size_t i = 0; i < afu_bench_metric_count; i++)
		if (strcmp(afu_bench_metrics[i].name, name) == 0)
			return &afu_bench_metrics[i];
	return NULL;
}
