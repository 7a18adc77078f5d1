//go:build faults

package main

import (
	"net/http"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

// faults are the scenarios, in the order of the report.
var faults = []fault{
	{
		name:     "API_down_500",
		did:      "3,000 jobs of 6 projects, one worker; after 200 calls the API answers 500 for 15 s, while jobs keep coming",
		demanded: "nothing lost or buried; fewer than 300 calls while it is down",
		bounded:  "all delivered within 15 s of its return",
		run:      apiDown(chatapitest.Fault{Status: http.StatusInternalServerError, Body: `{"statusCode":500}`}),
	},
	{
		name:     "API_down_502_page",
		did:      "the same with 502 and an HTML page, as a gateway answers",
		demanded: "the same",
		bounded:  "the same",
		run: apiDown(chatapitest.Fault{Status: http.StatusBadGateway, Header: map[string]string{"Content-Type": "text/html"},
			Body: "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"}),
	},
	{
		name:     "API_down_reset",
		did:      "the same with connections that are closed without an answer, before anything is delivered",
		demanded: "the same",
		bounded:  "the same",
		run:      apiDown(chatapitest.Fault{Break: chatapitest.BreakBefore}),
	},
	{
		name:     "limited_project",
		did:      "3,200 jobs of 5 projects, two workers of 8 calls at once; one call of one project is answered 429 with Retry-After: 3, all later ones would be served",
		demanded: "no call of that project in the 3 s but those in flight (16 at most), of either worker, and some later; calls of the others meanwhile; nothing lost or buried",
		bounded:  "no call of that project after the first second; the others at full speed (three quarters of before at least)",
		run:      limitedProject,
	},
	{
		name:     "bad_recipients",
		did:      "2,400 recipients of one message, in five calls; the API answers 400 to every call that names one of four, which stand in four different calls",
		demanded: "exactly those four buried, as refused; fewer than 80 calls",
		run:      badRecipients,
	},
	{
		name:     "one_message",
		did:      "300 jobs of one project for two workers, half of them a backlog, the others one every 20 ms; a gateway answers 403 to one of the messages, 404 to another, and 400 with a page to a third",
		demanded: "exactly these three are buried, as refused, each with its own failures; nothing lost or repeated",
		bounded:  "every other job delivered within 3 s of its publication, or of the workers' start",
		run:      oneMessage,
	},
	{
		name:     "one_recipient",
		did:      "2,500 recipients of one text, in five calls; a gateway answers 403 to every call that names one of them",
		demanded: "he alone is buried, with his own failures; fewer than 40 calls; nothing repeated",
		bounded:  "all others delivered within 5 s",
		run:      oneRecipient,
	},
	{
		name:     "told_but_failed",
		did:      "the API delivers and then fails, with --max-ambiguous 3: to calls for more than 200 recipients it never answers (one project), breaks the connection (another) or answers 500 (a third), while small calls of these projects succeed; a fourth project's calls are all answered 504",
		demanded: "nobody is delivered to more than 3 times on account of one job; of the first three projects nobody is buried, of the fourth everybody, as ambiguous; nothing lost",
		run:      toldButFailed,
	},
	{
		name:     "small_calls_only",
		did:      "20 jobs of 500 recipients; the API takes 100 in a call and answers 400 to more",
		demanded: "nothing lost, repeated or buried; fewer than 250 calls, of which fewer than 40 are refused (the least possible is 100 calls); `status` shows what was learned",
		run:      smallCallsOnly,
	},
	{
		name:     "odd_statuses",
		did:      "24 projects, each answered a status of its own for 2 s that is not about the call: pages with 400, 422 and 431, and 402, 407, 410, 426, 451 and others",
		demanded: "nothing lost, repeated or buried",
		run:      oddStatuses,
	},
	{
		name:     "odd_replies",
		did:      "20 projects, a call of each answered by a 2xx that is not as documented: a BOM, text that is not UTF-8, null and missing members, no last chunk, gzip, an empty 202, ids in another case, and others",
		demanded: "each recipient called for once, and who is named buried as rejected; twice where a page or a maintenance notice stands in place of the reply",
		run:      oddReplies,
	},
	{
		name:     "spellings_of_Retry-After",
		did:      "13 projects, a call of each limited for 4 s: decimals, lists, dates of a clock that differs by 30 s, and the RateLimit headers",
		demanded: "no call of a project inside its pause",
		bounded:  "each called again within 4 s of its end",
		run:      oddRetryAfter,
	},
	{
		name:     "revoked_token",
		did:      "3,000 jobs, two workers; after 500 calls the server revokes all tokens, minutes before they expire",
		demanded: "one refresh per worker, nothing buried",
		run:      revokedToken,
	},
	{
		name:     "token_endpoint_down",
		did:      "600 jobs of 300 projects with one credential, one worker; the token server answers 503 from the start, for 6 s from when all projects wait",
		demanded: "at most 10 token requests and no call meanwhile; nothing lost, repeated or buried",
		bounded:  "all delivered within 8 s of its return",
		run:      tokenEndpointDown,
	},
	{
		name:     "token_replaced_beside_calls",
		did:      "180 jobs, one every 50 ms; tokens live for 4 s, and the token server takes 1.5 s",
		demanded: "tokens replaced in time; nothing lost, repeated or buried",
		bounded:  "no job waits for a token: all delivered within 0.75 s of their publication",
		run:      tokenBesideTheCalls,
	},
	{
		name:     "token_server_hangs",
		did:      "100 jobs of as many projects with one credential, whose token requests are not answered; meanwhile a job of a project with another one every 250 ms; one worker of 8 calls at once",
		demanded: "the other's 20 jobs delivered while they hang; nothing lost, repeated or buried",
		bounded:  "four fifths of the other's jobs delivered within 1 s of their publication",
		run:      tokenServerHangs,
	},
	{
		name:     "token_secret_rotated",
		did:      "80 jobs of 40 projects with one credential, half of them before and half while they wait; its secret is replaced at the token server and its tokens revoked, and only when all projects wait is the file of `--client-secret-file` replaced, without a signal",
		demanded: "at most 5 token requests refused; nothing lost, repeated or buried; no secret in the log",
		bounded:  "all delivered within 5 s of the file's replacement",
		run:      rotatedSecret,
	},
	{
		name:     "moved_address",
		did:      "the API's name moves: 300 jobs, then the server at the old address keeps its HTTP/2 connections and answers 503, while new connections lead to another server; 300 more jobs",
		demanded: "nothing lost, repeated or buried; calls at the new address",
		bounded:  "all delivered within 15 s of the move",
		run:      movedAddress,
	},
	{
		name:     "GOAWAY",
		did:      "600 jobs, `--on-ambiguous bury`; on its first two HTTP/2 connections the server says of every call, by GOAWAY or REFUSED_STREAM, that it did not look at it",
		demanded: "nothing lost, repeated or buried; no gate closed",
		run:      goodbyes,
	},
	{
		name:     "stderr_closed",
		did:      "2,000 jobs; after 100 calls whoever reads the worker's log goes away; then SIGTERM",
		demanded: "nothing lost, repeated or buried; exit code 0",
		run:      logReaderGone,
	},
	{
		name:     "killed_workers",
		did:      "3,000 distinct jobs of 2 recipients, a worker of 8 calls at once killed with SIGKILL three times (jobs come back after 10 s instead of 30)",
		demanded: "nothing lost; repeated at most the recipients of the calls that may be in flight or not yet acknowledged (17 times 8 calls for each kill)",
		bounded:  "repeated at most the recipients of three times 8 calls for each kill: a prompt server acknowledges the others in time",
		run:      killedWorkers,
	},
	{
		name:     "replaced_workers",
		did:      "5,000 distinct jobs; four workers stopped with SIGTERM under load, one after another, and each replaced",
		demanded: "nothing lost, nothing repeated, every worker ends with exit code 0",
		run:      replacedWorkers,
	},
	{
		name:     "killed_in_large_job",
		did:      "one job of 20,000 recipients, 500 per call, 4 calls at once; the worker killed with SIGKILL after 15 of its 40 calls",
		demanded: "nothing lost; repeated at most the recipients of the calls in flight or not yet acknowledged",
		run:      killedInLargeJob,
	},
	{
		name:     "killed_NATS",
		did:      "6,000 jobs published by a producer that keeps 500 ahead, two workers; the only nats-server killed with SIGKILL twice, and started again at once the first time, after 2 s the second",
		demanded: "nothing lost; repeats counted; 50 jobs published after its return delivered",
		bounded:  "these 50 delivered within 10 s of the return",
		run:      killedNATS,
	},
	{
		name:     "killed_leader",
		did:      "the same with three servers and streams of three replicas; killed is the one that leads NOTIFY_NORMAL, and started again after 5 s",
		demanded: "the same",
		bounded:  "the same",
		run:      killedLeader,
	},
	{
		name:     "full_stream",
		did:      "`chatrelay publish` of 2,000 jobs to a stream that takes an eighth of them: with nobody making room; again, with a worker that starts later; and once more",
		demanded: "first a clear error, exit code 1 and the number published; then all of them published; nothing stored twice, lost or repeated",
		run:      fullStream,
	},
	{
		name:     "full_server",
		did:      "the same with streams without a bound, on a server whose storage is full",
		demanded: "the same",
		run:      fullServer,
	},
	{
		name: "broken_project", alone: true,
		did:      "20,000 jobs of a project whose calls are answered 403, and after them 30 jobs of ten others",
		demanded: "fewer than 50 calls for the broken one; its jobs delivered when it is put right; nothing lost, repeated or buried",
		bounded:  "the others' jobs delivered within 1 s of their publication",
		run:      brokenProject,
	},
	{
		name: "flooded_project", alone: true,
		did:      "60,000 distinct messages of one project (20,000 under the race detector), the API takes 20 ms, one worker of 16 calls at once; then a job of each of 20 others, one every half second",
		demanded: "no job of the flood deferred more than twice; nothing lost, repeated or buried",
		bounded:  "nine tenths of the others' jobs delivered within 1 s of their publication",
		run:      floodedProject,
	},
	{
		name: "hostile_producer", alone: true,
		did: "someone who may publish jobs of one project, in an account of his own, does an hour's worth of attacks in a minute: headers of NATS and of Chatrelay, " +
			"empty, malformed, deep and huge payloads, 60 kB of headers, hundreds of thousands of recipients, `deliver_at`, replies that point at others' subjects, other projects' ids, " +
			"rejected recipients; meanwhile others publish a job every 50 ms; one worker with `--window-bytes 67108864`",
		demanded: "the others' jobs delivered once each; the worker takes less than 320 MB, goes on and is ready",
		bounded:  "nine tenths of the others' jobs delivered within twice of before, and a quarter of a second",
		run:      hostileProducer,
	},
	{
		name: "operator_in_random_order",
		did: "two workers under load, while an operator does all this in random order (of a fixed seed): wipes the server's storage, removes the stream, backs it up and restores it, " +
			"removes the consumer, lowers the duplicate window and max_bytes for a while, pauses the consumer, purges, adds, stops and kills workers, kills the server; and the API is down for a second",
		demanded: "every job that was accepted is delivered or in a letter, but for what was removed, wiped or purged before a worker held it; repeated at most what was in flight or not yet acknowledged, and what a backup held; no worker ends by itself",
		run:      lifecycleOf(11, 13),
	},
	{
		name:     "full_dead_letters",
		did:      "3,000 jobs of a project whose recipients are all rejected, with 2 MB for dead letters, which does not hold them; then 40 jobs of ten others; then `init` with more",
		demanded: "`status` says that letters cannot be written; the others' jobs delivered meanwhile; when there is room each rejected recipient in a letter, without another call",
		bounded:  "nine tenths of the others' jobs delivered within 1 s of their publication",
		run:      fullLetters,
	},
	{
		name:     "wiped_NATS",
		did:      "the server loses all it stored under a worker that holds 200 jobs; `init`; 200 new jobs, which get the numbers of the old ones",
		demanded: "every new job delivered, once; the worker goes on, and ends with exit code 0",
		bounded:  "within a minute",
		run:      wipedNATS,
	},
	{
		name:     "removed_consumer",
		did:      "6,000 jobs, two workers of 8 calls at once; after 2,000 calls the consumer is removed, and made anew by `init`",
		demanded: "nothing lost; repeated at most the recipients of the calls that may be in flight or not yet acknowledged",
		bounded:  "repeated at most the recipients of three times 8 calls of each worker",
		run:      removedConsumer,
	},
	{
		name:     "overdue_schedules",
		did:      "500 jobs with deliver_at, which come due while the server's storage is full; 3 s later there is room",
		demanded: "nothing lost or repeated",
		bounded:  "all delivered within two minutes of the room",
		run:      overdueSchedules,
	},
}
