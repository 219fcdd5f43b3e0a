%% @doc Byte buffers from Erlang processes into Python.
%%
%% A buffer is written here and read in Python as `erlang.PyBuffer', a file object, while
%% the data is still arriving.  Pass it as an argument of a call, also inside a map or a
%% list.
%%
%% ```
%% {ok, Buf} = py_buffer:new(),
%% Ref = py:spawn_call(json, load, [Buf]),
%% ok = py_buffer:write(Buf, <<"[1, 2,">>),
%% ok = py_buffer:write(Buf, <<" 3]">>),
%% ok = py_buffer:close(Buf),
%% {ok, [1, 2, 3]} = py:await(Ref).
%% '''
%%
%% Binaries of 2 KiB or more are not copied: Python reads the very bytes that were
%% written.  A process that goes on appending to such a binary
%% (`<<Bin/binary, More/binary>>') keeps Python's bytes as they were, but each append then
%% costs a copy of the whole: write the pieces instead.
%%
%% A writer that may be faster than its reader gives the buffer a high watermark: then writes
%% wait for the reader.  A writer that may die gives it an owner: then the reader learns it.
%%
%% Any process may write.  Each write is atomic: its bytes are in one piece in the stream,
%% and on an error none of them is.
-module(py_buffer).

-export([new/0, new/1]).
-export([write/2, write/3, close/1, abort/2]).
-export([set_owner/2, spawn_writer/2, monitor/1]).
-export([info/1]).

-export_type([buffer/0, options/0, info/0, write_error/0]).

-type buffer() :: reference().
-type options() :: #{
    content_length => non_neg_integer() | undefined,
    high_watermark => pos_integer() | infinity,
    low_watermark => non_neg_integer(),
    max_size => non_neg_integer() | infinity,
    seekable => boolean(),
    owner => pid() | none,
    last_reader => close | keep,
    copy => auto | always
}.
-type info() :: #{
    state := open | ended | {aborted, term()},
    reader_closed := boolean(),
    written := non_neg_integer(),
    read := non_neg_integer(),
    available := non_neg_integer(),
    retained := non_neg_integer(),
    views := non_neg_integer(),
    waiting_readers := non_neg_integer(),
    waiting_writers := non_neg_integer(),
    high_watermark := pos_integer() | infinity,
    low_watermark := non_neg_integer() | infinity
}.
-type write_error() :: closed | {aborted, term()} | too_large | enomem.

-define(MAX_LENGTH, 16#7FFFFFFFFFFFFFFF).
-define(MAX_TIMEOUT, 16#FFFFFFFF).
%% A part of a larger binary keeps all of that alive: copied when it is at most this large
%% and under half of it.
-define(MAX_COPIED_PART, 16384).
%% Of a longer list so many binaries and bytes are taken at a time.
-define(PART_LEAVES, 1024).
-define(PART_BYTES, 65536).
%% Smaller binaries are copied in any case (ADOPT_MIN_BYTES in c_src/erlang/write.c).
-define(MIN_ADOPTED, 2048).
%% How much of a reason is printed, for a reader to whom it cannot be converted.
-define(PRINTED_DEPTH, 50).

%% ---- Making --------------------------------------------------------------------------

%% @doc A buffer whose length is not known, without limits.  An idle one costs under 1 KiB.
-spec new() -> {ok, buffer()} | {error, enomem}.
new() ->
    py_nif:buffer_new({undefined, infinity, infinity, infinity, true, false, false}).

%% @doc A buffer of which `Length' bytes are expected, or one with options.
%%
%% The length is a promise, not a limit, and nothing is allocated for it: once so many
%% bytes have been read, Python's blocking reads answer `b""' without waiting for
%% {@link close/1}; less (with a close) is a normal end, more can be read too.
%%
%% Options:
%% <ul>
%% <li>`content_length' (default `undefined'): as `Length'.</li>
%% <li>`high_watermark' (bytes, default `infinity'): a write waits while so many or more
%%   are unread.</li>
%% <li>`low_watermark' (bytes, default half of the high one): it waits until so few or fewer
%%   are.  Only beside a high one, and not above it.</li>
%% <li>`max_size' (bytes that may ever be written, default `infinity'): a write past it is
%%   refused and changes nothing.</li>
%% <li>`seekable' (default `true'): with `false' what has been read is freed.</li>
%% <li>`owner' (a process of this node, default `none'): see {@link set_owner/2}.</li>
%% <li>`last_reader' (default `close' with a high watermark, else `keep'): `close' makes it
%%   Python's `close()' when Python drops its last object for the buffer and no pending
%%   call and no queued message carries it.</li>
%% <li>`copy' (default `auto'): with `always' nothing is shared with the binaries that are
%%   written, for writers that want their memory back at once.</li>
%% </ul>
-spec new(non_neg_integer() | undefined | options()) -> {ok, buffer()} | {error, enomem}.
new(undefined) ->
    new();
new(Length) when is_integer(Length), Length >= 0, Length =< ?MAX_LENGTH ->
    py_nif:buffer_new({Length, infinity, infinity, infinity, true, false, false});
new(Options) when is_map(Options) ->
    ok = erlpy_options:check(?MODULE, Options, fun is_option/2),
    High = maps:get(high_watermark, Options, infinity),
    Low = low_watermark(High, maps:find(low_watermark, Options), Options),
    DefaultLast =
        case High of
            infinity -> keep;
            _ -> close
        end,
    Made = py_nif:buffer_new({
        maps:get(content_length, Options, undefined),
        maps:get(max_size, Options, infinity),
        High,
        Low,
        maps:get(seekable, Options, true),
        maps:get(last_reader, Options, DefaultLast) =:= close,
        maps:get(copy, Options, auto) =:= always
    }),
    erlpy_options:own(Made, Options, fun py_nif:buffer_set_owner/2);
new(Other) ->
    badarg({new, [Other]}, Other, "not a length from 0 to 2^63-1, undefined, or a map of options").

is_option(content_length, undefined) -> true;
is_option(content_length, Value) -> is_size(Value, 0);
is_option(high_watermark, infinity) -> true;
is_option(high_watermark, Value) -> is_size(Value, 1);
is_option(low_watermark, Value) -> is_size(Value, 0);
is_option(max_size, infinity) -> true;
is_option(max_size, Value) -> is_size(Value, 0);
is_option(seekable, Value) -> is_boolean(Value);
is_option(owner, Value) -> erlpy_options:owner(Value);
is_option(last_reader, Value) -> Value =:= close orelse Value =:= keep;
is_option(copy, Value) -> Value =:= auto orelse Value =:= always;
is_option(_Name, _Value) -> unknown.

is_size(Value, Least) ->
    is_integer(Value) andalso Value >= Least andalso Value =< ?MAX_LENGTH.

%% Below the high one, also where the two are given as the same: a write that has waited is
%% let in by a byte that was read.
low_watermark(infinity, error, _Options) ->
    infinity;
low_watermark(High, error, _Options) ->
    High div 2;
low_watermark(infinity, {ok, _Low}, Options) ->
    erlpy_options:refuse(?MODULE, Options, "low_watermark needs a high_watermark", []);
low_watermark(High, {ok, Low}, Options) when Low > High ->
    erlpy_options:refuse(?MODULE, Options, "low_watermark ~b is above high_watermark ~b", [Low, High]);
low_watermark(High, {ok, Low}, _Options) ->
    min(Low, High - 1).

%% ---- Writing -------------------------------------------------------------------------

%% @doc Appends bytes.  Over the high watermark it waits until the reader has made room;
%% writers that wait are let in in their order.
%%
%% `{error, closed}': the buffer was closed, here or by Python.  `{error, {aborted, Reason}}':
%% see {@link abort/2}.  `{error, too_large}': more in all than `max_size' (the buffer stays
%% open).  `{error, enomem}'.  After an error nothing was written.
-spec write(buffer(), iodata()) -> ok | {error, write_error()}.
write(Buffer, Data) ->
    Bytes = bytes(Data, Buffer, none),
    try py_nif:buffer_write(Buffer, Bytes) of
        ok -> ok;
        busy -> py_wait:write(Buffer, Bytes, infinity);
        Refused -> refused(Buffer, Refused)
    catch
        error:badarg -> bad_buffer({write, [Buffer, Data]})
    end.

%% @doc The same, waiting at most so many milliseconds.  `{error, timeout}': nothing of this
%% write was taken, and nothing will be.  With 0 it never waits: `{error, busy}'.
-spec write(buffer(), iodata(), timeout()) -> ok | {error, write_error() | timeout | busy}.
write(Buffer, Data, Timeout) when
    Timeout =:= infinity;
    is_integer(Timeout), Timeout >= 0, Timeout =< ?MAX_TIMEOUT
->
    Bytes = bytes(Data, Buffer, Timeout),
    try py_nif:buffer_write(Buffer, Bytes) of
        ok -> ok;
        busy when Timeout =:= 0 -> {error, busy};
        busy -> py_wait:write(Buffer, Bytes, Timeout);
        Refused -> refused(Buffer, Refused)
    catch
        error:badarg -> bad_buffer({write, [Buffer, Data, Timeout]})
    end;
write(Buffer, Data, Timeout) ->
    erlpy_error:badarg_at(?MODULE, {write, [Buffer, Data, Timeout]}, 3,
                          "not a timeout: infinity, or milliseconds below 2^32").

refused(Buffer, aborted) -> {error, {aborted, py_wait:reason(Buffer)}};
refused(_Buffer, Error) -> Error.

%% @doc Says that no more bytes will come.  Python's reads return what is left, and then
%% `b""'.  Writes that wait answer `{error, closed}'.  Closing again is `ok', and so is
%% closing what was aborted; neither changes anything.
-spec close(buffer()) -> ok.
close(Buffer) ->
    try
        py_nif:buffer_close(Buffer)
    catch
        error:badarg -> bad_buffer({close, [Buffer]})
    end.

%% @doc Says that the stream has failed: what arrived is not the whole.
%%
%% Python's calls raise `erlang.BufferAborted' with `Reason', after they have given out what
%% had arrived; those that promise all of it raise at once.  Writes, also those that wait,
%% answer `{error, {aborted, Reason}}'.  Nothing changes when the buffer has ended, was
%% aborted before, or has all bytes of its known length.
-spec abort(buffer(), Reason :: term()) -> ok.
abort(Buffer, Reason) ->
    {Kept, Text} = kept_reason(Reason),
    try
        py_nif:buffer_abort(Buffer, Kept, Text)
    catch
        error:badarg -> bad_buffer({abort, [Buffer, Reason]})
    end.

kept_reason(Reason) when is_atom(Reason) ->
    {Reason, <<>>};
kept_reason(Reason) ->
    Text = io_lib:format("~0tP", [Reason, ?PRINTED_DEPTH]),
    {term_to_binary(Reason), unicode:characters_to_binary(Text)}.

%% ---- Those at the ends -----------------------------------------------------------------

%% @doc Makes a process of this node the owner, in place of the one before: when it dies
%% before the buffer is whole, the buffer is aborted with `owner_down'.  So it is at once when
%% the process is dead already.
-spec set_owner(buffer(), pid()) -> ok | {error, enomem}.
set_owner(Buffer, Pid) ->
    is_pid(Pid) orelse owner_badarg(Buffer, Pid, "not a pid"),
    node(Pid) =:= node() orelse owner_badarg(Buffer, Pid, "a process of another node"),
    try
        py_nif:buffer_set_owner(Buffer, Pid)
    catch
        error:badarg -> bad_buffer({set_owner, [Buffer, Pid]})
    end.

-spec owner_badarg(term(), term(), string()) -> no_return().
owner_badarg(Buffer, Pid, Text) ->
    erlpy_error:badarg_at(?MODULE, {set_owner, [Buffer, Pid]}, 2, Text).

%% @doc Runs `Fun(Buffer)' in a process of its own, which owns the buffer.
%%
%% When `Fun' returns the buffer is closed.  When it fails the buffer is aborted with the
%% reason that a link would carry (`{Reason, Stacktrace}' after an error), and the process
%% ends with a crash report; the caller is not taken down.  While it runs the process is
%% linked to the caller: it dies with a caller that fails (not with one that ends as
%% `normal'), and the buffer is aborted with `owner_down'.  So it is when the process is killed
%% by an exit signal, which reaches the caller too, as by any link.
-spec spawn_writer(buffer(), fun((buffer()) -> term())) -> {ok, pid()}.
spawn_writer(Buffer, Fun) when is_function(Fun, 1) ->
    is_buffer(Buffer) orelse bad_buffer({spawn_writer, [Buffer, Fun]}),
    Pid = py_wait:spawn_writer(Buffer, Fun),
    _ = py_nif:buffer_set_owner(Buffer, Pid),
    {ok, Pid};
spawn_writer(Buffer, Fun) ->
    erlpy_error:badarg_at(?MODULE, {spawn_writer, [Buffer, Fun]}, 2,
                          "not a function of one argument").

is_buffer(Buffer) ->
    is_reference(Buffer) andalso py_nif:is_buffer(Buffer).

%% @doc Asks for one message `{py_buffer, Ref, closed | drained}': `drained' when all of a
%% stream that ended has been read, `closed' when nobody will read on, since Python closed it,
%% it was aborted, or nobody holds it any more.
-spec monitor(buffer()) -> reference().
monitor(Buffer) ->
    try py_nif:buffer_monitor(Buffer) of
        enomem -> error(system_limit);
        Ref -> Ref
    catch
        error:badarg -> bad_buffer({monitor, [Buffer]})
    end.

%% ---- Looking -------------------------------------------------------------------------

%% @doc How the buffer stands: `state' (`open', `ended' after {@link close/1}, or
%% `{aborted, Reason}'), whether Python has closed it, the bytes ever `written', the position
%% of the reader (`read'), the bytes that are `available' to it, the memory that the buffer
%% holds (`retained'; a shared binary counts with all of the binary that it is a part of),
%% how many memoryviews, waiting reads and waiting writes there are, and its watermarks.
-spec info(buffer()) -> info().
info(Buffer) ->
    try py_nif:buffer_info(Buffer) of
        #{state := aborted} = Info -> Info#{state := {aborted, py_wait:reason(Buffer)}};
        Info -> Info
    catch
        error:badarg -> bad_buffer({info, [Buffer]})
    end.

%% ---- Bytes ---------------------------------------------------------------------------

bytes(Data, _Buffer, _Timeout) when is_binary(Data) ->
    case compact(Data) of
        {_, _} = Part -> [Part];
        Binary -> Binary
    end;
bytes(Data, Buffer, Timeout) ->
    try
        [compact(Binary) || Binary <- binaries(Data)]
    catch
        error:badarg ->
            Args = [Buffer, Data | [Timeout || Timeout =/= none]],
            erlpy_error:badarg_at(?MODULE, {write, Args}, 2, erlpy_error:not_iodata(Data))
    end.

%% A long list in parts: erlang:iolist_to_iovec/1 does not yield on its way, and copies
%% what is small.
binaries(Data) ->
    case is_short(Data, ?PART_LEAVES) andalso iolist_size(Data) =< ?PART_BYTES of
        true -> erlang:iolist_to_iovec(Data);
        false -> parts(Data, [], ?PART_LEAVES, [], [])
    end.

is_short([_ | _], 0) -> false;
is_short([_ | Rest], Left) -> is_short(Rest, Left - 1);
is_short(_End, _Left) -> true.

%% `Outer' are the rests of the lists that this one is in, the innermost first; `Part' has
%% binaries and bytes, the last first.
parts(Data, Outer, 0, Part, Done) ->
    parts(Data, Outer, ?PART_LEAVES, [], [iovec(Part) | Done]);
parts([List | Rest], Outer, Left, Part, Done) when is_list(List) ->
    parts(List, [Rest | Outer], Left, Part, Done);
parts([Leaf | Rest], Outer, Left, Part, Done) ->
    parts(Rest, Outer, Left - 1, [Leaf | Part], Done);
parts([], [Rest | Outer], Left, Part, Done) ->
    parts(Rest, Outer, Left, Part, Done);
parts([], [], _Left, Part, Done) ->
    lists:append(lists:reverse(Done, [iovec(Part)]));
parts(End, Outer, Left, Part, Done) when is_binary(End) ->
    parts([], Outer, Left - 1, [End | Part], Done);
parts(_End, _Outer, _Left, _Part, _Done) ->
    error(badarg).

iovec(Part) ->
    erlang:iolist_to_iovec(lists:reverse(Part)).

compact(Binary) when byte_size(Binary) < ?MIN_ADOPTED ->
    Binary;
compact(Binary) ->
    Size = byte_size(Binary),
    case binary:referenced_byte_size(Binary) of
        Held when Held > 2 * Size, Size =< ?MAX_COPIED_PART -> binary:copy(Binary);
        Held when Held > Size -> {Binary, Held};
        _ -> Binary
    end.

%% ---- Errors --------------------------------------------------------------------------

-spec bad_buffer(erlpy_error:call()) -> no_return().
bad_buffer({_, [Buffer | _]} = Who) when is_reference(Buffer), node(Buffer) =/= node() ->
    badarg(Who, Buffer, erlpy_error:elsewhere("buffer", Buffer));
bad_buffer({_, [{ok, _} = Answer | _]} = Who) ->
    badarg(Who, Answer, "not a buffer: match it as {ok, Buffer} first");
bad_buffer({_, [Buffer | _]} = Who) ->
    badarg(Who, Buffer, "not a buffer").

-spec badarg(erlpy_error:call(), term(), string()) -> no_return().
badarg(Who, Wrong, Text) ->
    erlpy_error:badarg(?MODULE, Who, Wrong, Text).
