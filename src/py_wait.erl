%% @private
%% The receives in which callers of Python, writers and users of channels wait, the process
%% of a writer, and what is below a function that Python has called.  They are a module of their own so that
%% reloading the API modules ends nobody who is in one.
-module(py_wait).

-export([call/3, submit/4, response/2, gather/2]).
-export([write/3, reason/1, spawn_writer/2]).
-export([send/3, recv/2, fetch/1]).
-export([next/3, give_up/2]).
-export([function/1]).

%% In the dictionary of a process that runs a function for Python: the call.
-define(CHAIN, '$erlpy_call').

%% The reference is made here and used in this function's receive alone: the runtime then
%% skips what was in the mailbox before.
-spec call(pool | reference(), py_nif:request(), timeout()) ->
    ok | {ok, term()} | {error, py:reason()}.
call(Target, Request, infinity) ->
    Ref = make_ref(),
    case submit(Target, Ref, Request, false) of
        ok ->
            receive
                {py_response, Ref, Result} -> Result
            end;
        {error, _} = Error ->
            Error
    end;
call(Target, Request, Timeout) ->
    Ref = make_ref(),
    case submit(Target, Ref, Request, true) of
        {error, _} = Error ->
            Error;
        Job ->
            receive
                {py_response, Ref, Result} -> Result
            after Timeout -> claim(Job, Ref)
            end
    end.

%% As py_nif:submit/5; a process that works for a call of Python's says so, since the Python
%% thread that waits for it may have to run the job.
-spec submit(pool | reference(), none | py_nif:ref(), py_nif:request(), boolean()) ->
    ok | py_nif:job() | {error, py:reason()}.
submit(Target, Ref, Request, Cancellable) ->
    case py_nif:submit(Target, Ref, Request, Cancellable, get(?CHAIN)) of
        {error, not_started} -> erlpy_error:not_started();
        Answer -> Answer
    end.

%% After `cancelled' no message will come, after `replied' it is on its way.
claim(Job, Ref) ->
    case py_nif:cancel(Job) of
        cancelled -> {error, timeout};
        replied -> response(Ref, infinity)
    end.

-spec response(py_nif:ref(), timeout()) -> ok | {ok, term()} | {error, py:reason()}.
response(Ref, Timeout) ->
    receive
        {py_response, Ref, Result} -> Result
    after Timeout -> {error, timeout}
    end.

%% ---- Many calls -----------------------------------------------------------------------

%% Each has the reference {Ref, N}, so that the receive knows them all by the one Ref.
-spec gather([py_nif:request()], timeout()) -> {ok, [term()]} | {error, py:reason()}.
gather(Requests, Timeout) ->
    Ref = make_ref(),
    Deadline = deadline(Timeout),
    case submit_all(Requests, Ref, 1, #{}) of
        {error, _} = Error -> Error;
        Jobs -> collect(Ref, Jobs, #{}, Deadline)
    end.

submit_all([Request | Requests], Ref, N, Jobs) ->
    case submit(pool, {Ref, N}, Request, true) of
        {error, _} = Error ->
            ok = give_up_all(Ref, Jobs),
            Error;
        Job ->
            submit_all(Requests, Ref, N + 1, Jobs#{N => Job})
    end;
submit_all([], _Ref, _N, Jobs) ->
    Jobs.

collect(_Ref, Jobs, Values, _Deadline) when map_size(Jobs) =:= 0 ->
    {ok, [Value || {_N, Value} <- lists:keysort(1, maps:to_list(Values))]};
collect(Ref, Jobs, Values, Deadline) ->
    receive
        {py_response, {Ref, N}, {ok, Value}} ->
            collect(Ref, maps:remove(N, Jobs), Values#{N => Value}, Deadline);
        {py_response, {Ref, N}, {error, _} = Error} ->
            ok = give_up_all(Ref, maps:remove(N, Jobs)),
            Error
    after left(Deadline) ->
        ok = give_up_all(Ref, Jobs),
        {error, timeout}
    end.

%% The replies are taken as they lie in the mailbox: to look for each would take the square
%% of their number.
give_up_all(Ref, Jobs) ->
    drop_replies(Ref, length([Job || Job <- maps:values(Jobs), py_nif:cancel(Job) =:= replied])).

drop_replies(_Ref, 0) ->
    ok;
drop_replies(Ref, Left) ->
    receive
        {py_response, {Ref, _N}, _Result} -> drop_replies(Ref, Left - 1)
    end.

deadline(infinity) -> infinity;
deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

left(infinity) -> infinity;
left(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).

%% ---- Buffers -------------------------------------------------------------------------

%% A write for which there was no room.  As in call/3, the mailbox is not searched.
-spec write(reference(), py_nif:buffer_data(), timeout()) ->
    ok | {error, py_buffer:write_error() | timeout}.
write(Buffer, Data, Timeout) ->
    Ref = make_ref(),
    case py_nif:buffer_park(Buffer, Data, Ref) of
        Wait when is_reference(Wait) ->
            receive
                {py_written, Ref, Result} -> written(Buffer, Result)
            after Timeout -> give_up(Buffer, Wait, Ref)
            end;
        Result ->
            written(Buffer, Result)
    end.

give_up(Buffer, Wait, Ref) ->
    case py_nif:buffer_unpark(Wait) of
        cancelled ->
            {error, timeout};
        replied ->
            receive
                {py_written, Ref, Result} -> written(Buffer, Result)
            end
    end.

written(Buffer, aborted) -> {error, {aborted, reason(Buffer)}};
written(_Buffer, Result) -> Result.

%% Why the buffer was aborted.
-spec reason(reference()) -> term().
reason(Buffer) ->
    case py_nif:buffer_reason(Buffer) of
        External when is_binary(External) -> binary_to_term(External);
        Atom -> Atom
    end.

%% The caller is not to be told of the writer's end by the link: it dies with the caller, not
%% the other way round.
-spec spawn_writer(reference(), fun((reference()) -> term())) -> pid().
spawn_writer(Buffer, Fun) ->
    Parent = self(),
    proc_lib:spawn_link(fun() -> run_writer(Parent, Buffer, Fun) end).

run_writer(Parent, Buffer, Fun) ->
    try Fun(Buffer) of
        _ ->
            ok = py_nif:buffer_close(Buffer),
            unlink(Parent)
    catch
        Class:Reason:Stack ->
            ok = py_buffer:abort(Buffer, exit_reason(Class, Reason, Stack)),
            true = unlink(Parent),
            erlang:raise(Class, Reason, Stack)
    end.

exit_reason(error, Reason, Stack) -> {Reason, Stack};
exit_reason(exit, Reason, _Stack) -> Reason;
exit_reason(throw, Value, Stack) -> {{nocatch, Value}, Stack}.

%% ---- Channels ------------------------------------------------------------------------

%% A send for which there was no room.
-spec send(reference(), term(), timeout()) -> ok | {error, closed | timeout | enomem}.
send(Channel, Term, Timeout) ->
    Ref = make_ref(),
    case py_nif:channel_park(Channel, Term, Ref) of
        Wait when is_reference(Wait) ->
            receive
                {py_sent, Ref, Result} -> Result
            after Timeout -> give_up_send(Wait, Ref)
            end;
        Result ->
            Result
    end.

give_up_send(Wait, Ref) ->
    case py_nif:channel_unpark(Wait) of
        cancelled ->
            {error, timeout};
        replied ->
            receive
                {py_sent, Ref, Result} -> Result
            end
    end.

%% A receive that found nothing.  The one that is told may find that another was faster, and
%% waits again.
-spec recv(reference(), timeout()) -> {ok, term()} | {error, closed | timeout | enomem}.
recv(Channel, infinity) ->
    recv_until(Channel, infinity);
recv(Channel, Timeout) ->
    recv_until(Channel, deadline(Timeout)).

recv_until(Channel, Deadline) ->
    Ref = make_ref(),
    case py_nif:channel_listen(Channel, Ref) of
        Wait when is_reference(Wait) ->
            receive
                {py_channel, Ref} -> received(py_nif:channel_look(Wait), Channel, Deadline)
            after left(Deadline) -> give_up_recv(Wait, Ref)
            end;
        Received ->
            received(Received, Channel, Deadline)
    end.

%% One that was told when its time was over has a last look.
give_up_recv(Wait, Ref) ->
    case py_nif:channel_unlisten(Wait) of
        cancelled ->
            {error, timeout};
        replied ->
            receive
                {py_channel, Ref} -> received(py_nif:channel_look(Wait))
            end
    end.

received(empty, Channel, Deadline) -> recv_until(Channel, Deadline);
received(Received, _Channel, _Deadline) -> received(Received).

received({large, Taken}) -> fetch(Taken);
received(empty) -> {error, timeout};
received(Received) -> Received.

%% A large message, which is handed over without a copy.
-spec fetch(py_nif:taken()) -> {ok, term()}.
fetch(Taken) ->
    Ref = make_ref(),
    ok = py_nif:channel_fetch(Taken, Ref),
    receive
        {py_channel, Ref, Message} -> {ok, Message}
    end.

%% ---- A call that puts messages ---------------------------------------------------------

%% The next message of a channel, or, when all are taken, the answer of the call that puts
%% them.
-spec next(reference(), py_nif:ref(), timeout()) ->
    {message, term()} | {answer, ok | {ok, term()} | {error, py:reason()}} | {error, timeout | enomem}.
next(Channel, Ref, Timeout) ->
    case py_nif:channel_receive(Channel) of
        empty -> next_until(Channel, Ref, deadline(Timeout));
        {error, closed} -> answer_within(Ref, Timeout);
        Received -> message(received(Received))
    end.

next_until(Channel, Ref, Deadline) ->
    Notice = make_ref(),
    case py_nif:channel_listen(Channel, Notice) of
        Wait when is_reference(Wait) ->
            receive
                {py_channel, Notice} ->
                    looked(py_nif:channel_look(Wait), Channel, Ref, Deadline);
                {py_response, Ref, _} = Answer ->
                    answered(Answer, give_up_recv(Wait, Notice), Channel)
            after left(Deadline) ->
                message(give_up_recv(Wait, Notice))
            end;
        Received ->
            looked(Received, Channel, Ref, Deadline)
    end.

looked(empty, Channel, Ref, Deadline) -> next_until(Channel, Ref, Deadline);
looked({error, closed}, _Channel, Ref, Deadline) -> answer_within(Ref, left(Deadline));
looked(Received, _Channel, _Ref, _Deadline) -> message(received(Received)).

%% The call has ended.  What it had put comes before, whatever the order of the two
%% notices, of which nothing is promised; then its answer is kept where it was.
answered(Answer, {ok, Message}, _Channel) ->
    self() ! Answer,
    {message, Message};
answered({py_response, _, Result} = Answer, {error, _}, Channel) ->
    case py_nif:channel_receive(Channel) of
        empty -> {answer, Result};
        {error, closed} -> {answer, Result};
        {error, _} = Error -> self() ! Answer, Error;
        Received -> answered(Answer, received(Received), Channel)
    end.

answer_within(Ref, Timeout) ->
    receive
        {py_response, Ref, Result} -> {answer, Result}
    after Timeout -> {error, timeout}
    end.

message({ok, Message}) -> {message, Message};
message({error, _} = Error) -> Error.

%% Cancels a call whose answer nobody wants, unless it has been given.
-spec give_up(py_nif:job(), py_nif:ref()) -> ok.
give_up(Job, Ref) ->
    _ = claim(Job, Ref),
    ok.

%% ---- The process that runs a function for Python ------------------------------------------

-spec function(py_nif:callback()) -> ok.
function(Call) ->
    case py_nif:callback_take(Call) of
        {Name, Args} ->
            put(?CHAIN, Call),
            py_nif:callback_reply(Call, answer(Name, Args));
        gone ->
            ok
    end.

answer(Name, Args) ->
    case erlpy_callbacks:lookup(Name) of
        {ok, Fun} when is_function(Fun, length(Args)) ->
            try
                {ok, apply(Fun, Args)}
            catch
                Kind:Reason:Stack -> erlpy_callbacks:failure(Kind, Reason, Stack)
            end;
        {ok, _} ->
            erlpy_callbacks:failure(error, {badarity, Name, length(Args)}, []);
        error ->
            erlpy_callbacks:failure(error, {not_registered, Name}, [])
    end.
