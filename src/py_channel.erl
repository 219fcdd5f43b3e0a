%% @doc Channels: messages between Erlang processes and Python, both ways.
%%
%% A channel is made here and arrives in Python as `erlang.Channel' when it is passed in an
%% argument, also inside a map or a list, or in a message of another channel.
%%
%% ```
%% {ok, Channel} = py_channel:new(),
%% Ref = py:spawn_call(worker, run, [Channel]),
%% ok = py_channel:send(Channel, {resize, <<"cat.png">>, 200}),
%% {ok, Answer} = py_channel:recv(Channel),
%% ok = py_channel:close(Channel).
%% '''
%%
%% ```
%% def run(channel):
%%     for command, name, width in channel:
%%         channel.put(resized(name, width))
%% '''
%%
%% The two ways are queues of their own: what {@link send/2} puts in is received in Python,
%% what Python's `put()' puts in is received by {@link recv/1}, and nobody reads back its own
%% messages.  Any number of processes and Python threads may send and receive: the messages
%% of one sender arrive in their order, each at one receiver.
%%
%% Messages are terms and become Python objects, and the other way round, as arguments and
%% results of `py:call/3' do.  One that Python cannot take (a fun, say) raises
%% `erlang.NotConvertibleError' in the receive and is gone.  Binaries of 2 KiB or more are
%% not copied on the way into the channel.
%%
%% <b>Sizes.</b>  `max_size' limits the bytes that are queued, for each way by itself.  The
%% size of a message is what `erlang:external_size/1' says, large binaries included, but that
%% a pid counts with 32 bytes, a port with 28 and a reference with 38, whatever the name of
%% the node.  A message fits when it and those that are queued come to at most `max_size', or
%% when none is queued: so one that is larger by itself is taken too.
%%
%% <b>The end.</b>  {@link close/1} and Python's `close()' close both ways at once.  What is
%% queued can still be received; a send that waits, and each later one, answers
%% `{error, closed}'.  A channel closes too when its owner dies ({@link set_owner/2}), and,
%% some time later, when no Erlang process refers to it any more.  A message that carries its
%% own channel refers to it for as long as it is queued.
-module(py_channel).

-export([new/0, new/1]).
-export([send/2, send/3, recv/1, recv/2]).
-export([close/1, set_owner/2]).
-export([info/1]).

-export_type([channel/0, options/0, info/0, way/0]).

-type channel() :: reference().
-type options() :: #{
    max_size => pos_integer() | infinity,
    binaries => copy | view,
    owner => pid() | none
}.
-type way() :: #{
    size := non_neg_integer(),
    messages := non_neg_integer(),
    waiting_senders := non_neg_integer(),
    waiting_receivers := non_neg_integer()
}.
-type info() :: #{
    size := non_neg_integer(),
    messages := non_neg_integer(),
    waiting_senders := non_neg_integer(),
    waiting_receivers := non_neg_integer(),
    outbox := way(),
    max_size := pos_integer() | infinity,
    closed := boolean()
}.

-define(MAX_SIZE, 16#7FFFFFFFFFFFFFFF).
-define(MAX_TIMEOUT, 16#FFFFFFFF).

%% ---- Making --------------------------------------------------------------------------

%% @doc A channel without limits.
-spec new() -> {ok, channel()} | {error, enomem}.
new() ->
    py_nif:channel_new(infinity, false).

%% @doc A channel with options:
%% <ul>
%% <li>`max_size' (bytes from 1 to 2^63-1, default `infinity'): how much may be queued each
%%   way; see the sizes above.</li>
%% <li>`binaries' (default `copy'): with `view' each binary of 2 KiB or more in a message to
%%   Python, text or not, arrives as a read-only memoryview of the very bytes, also inside
%%   lists, tuples and maps.  The memoryview keeps them, with all of the binary that they are
%%   a part of, for as long as it lives.  `{str, Binary}' stays a str.</li>
%% <li>`owner' (a process of this node, default `none'): see {@link set_owner/2}.</li>
%% </ul>
-spec new(options()) -> {ok, channel()} | {error, enomem}.
new(Options) when is_map(Options) ->
    ok = erlpy_options:check(?MODULE, Options, fun is_option/2),
    Views = maps:get(binaries, Options, copy) =:= view,
    Made = py_nif:channel_new(maps:get(max_size, Options, infinity), Views),
    erlpy_options:own(Made, Options, fun py_nif:channel_set_owner/2);
new(Other) ->
    erlpy_error:badarg_at(?MODULE, {new, [Other]}, 1, "not a map of options").

is_option(max_size, infinity) -> true;
is_option(max_size, Value) -> is_integer(Value) andalso Value > 0 andalso Value =< ?MAX_SIZE;
is_option(binaries, Value) -> Value =:= copy orelse Value =:= view;
is_option(owner, Value) -> erlpy_options:owner(Value);
is_option(_Name, _Value) -> unknown.

%% ---- Messages to Python ----------------------------------------------------------------

%% @doc Sends a message to Python, without waiting: `busy' says that there is no room for it,
%% or that others wait for room, and that it was not sent.  `{error, closed}': neither was it.
-spec send(channel(), term()) -> ok | busy | {error, closed | enomem}.
send(Channel, Term) ->
    try
        py_nif:channel_send(Channel, Term)
    catch
        error:badarg -> bad_channel({send, [Channel, Term]})
    end.

%% @doc The same, waiting for room for at most so many milliseconds; senders that wait are
%% let in in their order, and nobody overtakes them.  `{error, timeout}': the message was not
%% sent, and will not be.  With 0 it never waits, and answers as {@link send/2}.
-spec send(channel(), term(), timeout()) -> ok | busy | {error, closed | timeout | enomem}.
send(Channel, Term, Timeout) when
    Timeout =:= infinity;
    is_integer(Timeout), Timeout >= 0, Timeout =< ?MAX_TIMEOUT
->
    try py_nif:channel_send(Channel, Term) of
        busy when Timeout =/= 0 -> py_wait:send(Channel, Term, Timeout);
        Result -> Result
    catch
        error:badarg -> bad_channel({send, [Channel, Term, Timeout]})
    end;
send(Channel, Term, Timeout) ->
    bad_timeout({send, [Channel, Term, Timeout]}, 3).

%% ---- Messages from Python --------------------------------------------------------------

%% @doc As {@link recv/2} without a limit of time.
-spec recv(channel()) -> {ok, term()} | {error, closed | enomem}.
recv(Channel) ->
    try py_nif:channel_receive(Channel) of
        empty -> py_wait:recv(Channel, infinity);
        Received -> received(Received)
    catch
        error:badarg -> bad_channel({recv, [Channel]})
    end.

%% @doc Takes the next message that Python has put in, and waits for it at most so many
%% milliseconds (0: not at all).  `{error, timeout}': none came in time, and nothing was
%% taken.  `{error, closed}': the channel is closed, and all messages have been received.
%%
%% The process waits in a receive of its own, which leaves the mailbox as it is.
-spec recv(channel(), timeout()) -> {ok, term()} | {error, closed | timeout | enomem}.
recv(Channel, Timeout) when
    Timeout =:= infinity;
    is_integer(Timeout), Timeout >= 0, Timeout =< ?MAX_TIMEOUT
->
    try py_nif:channel_receive(Channel) of
        empty when Timeout =:= 0 -> {error, timeout};
        empty -> py_wait:recv(Channel, Timeout);
        Received -> received(Received)
    catch
        error:badarg -> bad_channel({recv, [Channel, Timeout]})
    end;
recv(Channel, Timeout) ->
    bad_timeout({recv, [Channel, Timeout]}, 2).

received({large, Taken}) -> py_wait:fetch(Taken);
received(Received) -> Received.

%% ---- The end ---------------------------------------------------------------------------

%% @doc Closes both ways.  What is queued can still be received, here and in Python; then
%% receives answer `{error, closed}', in Python `erlang.ChannelClosed'.  Closing again is
%% `ok' and changes nothing.
-spec close(channel()) -> ok.
close(Channel) ->
    try
        py_nif:channel_close(Channel)
    catch
        error:badarg -> bad_channel({close, [Channel]})
    end.

%% @doc Makes a process of this node the owner, in place of the one before: when it dies the
%% channel is closed.  So it is at once when the process is dead already.
-spec set_owner(channel(), pid()) -> ok | {error, enomem}.
set_owner(Channel, Pid) ->
    is_pid(Pid) orelse bad_owner(Channel, Pid, "not a pid"),
    node(Pid) =:= node() orelse bad_owner(Channel, Pid, "a process of another node"),
    try
        py_nif:channel_set_owner(Channel, Pid)
    catch
        error:badarg -> bad_channel({set_owner, [Channel, Pid]})
    end.

%% ---- Looking ---------------------------------------------------------------------------

%% @doc How the channel stands: for messages to Python the bytes that are queued (`size'; see
%% the sizes above), how many `messages' that is, and how many sends and receives wait; in
%% `outbox' the same for messages from Python; `max_size', which holds for each way; and
%% whether it is `closed'.
-spec info(channel()) -> info().
info(Channel) ->
    try
        py_nif:channel_info(Channel)
    catch
        error:badarg -> bad_channel({info, [Channel]})
    end.

%% ---- Errors ----------------------------------------------------------------------------

-spec bad_channel(erlpy_error:call()) -> no_return().
bad_channel({_, [Channel | _]} = Who) when is_reference(Channel), node(Channel) =/= node() ->
    erlpy_error:badarg_at(?MODULE, Who, 1, erlpy_error:elsewhere("channel", Channel));
bad_channel(Who) ->
    erlpy_error:badarg_at(?MODULE, Who, 1, "not a channel").

-spec bad_timeout(erlpy_error:call(), pos_integer()) -> no_return().
bad_timeout(Who, Position) ->
    erlpy_error:badarg_at(?MODULE, Who, Position,
                          "not a timeout: infinity, or milliseconds below 2^32").

-spec bad_owner(term(), term(), string()) -> no_return().
bad_owner(Channel, Pid, Text) ->
    erlpy_error:badarg_at(?MODULE, {set_owner, [Channel, Pid]}, 2, Text).
