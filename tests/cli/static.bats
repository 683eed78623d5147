#!/usr/bin/env bats
# An image that has nothing but one static program: no init, no shell, no libc, no /etc. Its command is run
# at boot where --run-cmd asks for it.

load lib

setup_file() {
	new_state
	ember image pull "oci:$OCI/static:latest" --name static
	ember image pull "oci:$OCI/silent:latest" --name silent
	ember vm create app --image static "${SMALL[@]}" --run-cmd --env 'GREETING=hei "du" 100%' --env EXTRA= --wait
}

teardown_file() {
	drop_state
}

says() {
	ember vm logs "$1" | tr -d '\r' | grep -qF -- "$2"
}

@test "exec runs its program: words, status, signal, input, variables, directory" {
	expect 0 ember exec app -- /app exit 0
	expect 42 ember exec app -- /app exit 42
	expect 134 ember exec app -- /app abort
	run -0 bash -c "printf 'through\0and through' | '$EMBER' exec -i app -- /app cat | od -An -c | tr -d ' \n'"
	contains "$output" 'through\0andthrough'
	expect 7 ember exec app -e MORE=1 -w / -- /app serve 'a  b' ''
	contains "$output" 'uid=1234 gid=5678 cwd=/' 'word 2 [a  b]' 'word 3 []' '[FROM_IMAGE=yes]' '[MORE=1]' '[GREETING=hei "du" 100%]'
	equal "$stderr" 'app: on stderr'
	expect 127 ember exec app -- sh
	contains "$stderr" "no program 'sh'"
}

@test "its command has run as the image says, and the VM stayed" {
	until_true 30 says app 'ended with status 7'
	expect 0 ember vm logs app
	contains "${output//$'\r'/}" 'app: uid=1234 gid=5678 cwd=/data' 'word 0 [/app]' 'word 1 [serve]' 'word 2 [two words]' \
		'word 3 [é"\]' 'variable [FROM_IMAGE=yes]' 'variable [GREETING=hei "du" 100%]' 'variable [EXTRA=]' 'app: on stderr' \
		"the image's command ended with status 7"
	equal "$(status_of app)" running
	equal "$(field app .run_cmd)" true
}

@test "it runs again at the next boot, and in a fork" {
	expect 0 ember vm stop app
	expect 0 ember vm fork app again
	until_true 60 says again 'ended with status 7'
	expect 0 ember vm delete --force again
}

@test "without --run-cmd nothing runs, and exec does" {
	expect 0 boot plain static
	expect 3 ember exec plain -- /app exit 3
	run ! says plain 'app: uid'
}

@test "a command that cannot be run says why on the console" {
	expect 0 boot stranger static --run-cmd --user stranger
	until_true 30 says stranger "cannot run '/app': no user or group 'stranger'"
	equal "$(status_of stranger)" running
}

@test "an image without a command, and a command line that is full, are refused" {
	expect 2 ember vm create none --image silent --run-cmd --no-start
	explains "image 'silent' names no command" 'ember exec none'
	expect 0 ember vm create full --image static --run-cmd --no-start --env "LONG=$(printf '%0600d' 0)" --env "MORE=$(printf '% 600d' 0)"
	expect 2 ember vm start full
	explains 'too long' '--env'
	expect 0 ember vm delete full
	assert_no_leftovers
}
