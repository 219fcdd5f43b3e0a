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
%% Any process may write.  Each write is atomic: its bytes are in one piece in the stream,
%% and on an error none of them is.
-module(py_buffer).

-export([new/0, new/1, write/2, close/1, info/1]).

-export_type([buffer/0, options/0, info/0]).

-type buffer() :: reference().
-type options() :: #{
    content_length => non_neg_integer() | undefined,
    copy => auto | always,
    max_size => non_neg_integer() | infinity,
    seekable => true
}.
-type info() :: #{
    state := open | ended,
    reader_closed := boolean(),
    written := non_neg_integer(),
    read := non_neg_integer(),
    available := non_neg_integer(),
    retained := non_neg_integer(),
    views := non_neg_integer(),
    waiting_readers := non_neg_integer()
}.

-define(MAX_LENGTH, 16#7FFFFFFFFFFFFFFF).
%% A part of a larger binary keeps all of that alive: copied when it is at most this large
%% and under half of it.
-define(MAX_COPIED_PART, 16384).
%% So much of a list is turned into binaries at a time.
-define(PART_ELEMENTS, 1024).
%% Smaller binaries are copied in any case (ADOPT_MIN_BYTES in c_src/erlang/buffer.c).
-define(MIN_ADOPTED, 2048).

%% @doc A buffer whose length is not known.  An idle one costs under 1 KiB.
-spec new() -> {ok, buffer()} | {error, enomem}.
new() ->
    py_nif:buffer_new(undefined, auto, ?MAX_LENGTH).

%% @doc A buffer of which `Length' bytes are expected, or one with options.
%%
%% The length is a promise, not a limit, and nothing is allocated for it: once so many
%% bytes have been read, Python's blocking reads answer `b""' without waiting for
%% {@link close/1}; less (with a close) is a normal end, more can be read too.
%%
%% Options: `content_length' (default `undefined'); `copy' (`auto', or `always': nothing is
%% shared with the binaries that are written, for writers that want their memory back
%% at once); `max_size' (bytes that may ever be written, default `infinity': a write past
%% it is refused and changes nothing); `seekable' (only `true' so far).
-spec new(non_neg_integer() | undefined | options()) -> {ok, buffer()} | {error, enomem}.
new(undefined) ->
    new();
new(Length) when is_integer(Length), Length >= 0, Length =< ?MAX_LENGTH ->
    py_nif:buffer_new(Length, auto, ?MAX_LENGTH);
new(Options) when is_map(Options) ->
    maps:foreach(fun(Name, Value) -> check_option(Name, Value, Options) end, Options),
    Length = maps:get(content_length, Options, undefined),
    MaxSize =
        case maps:get(max_size, Options, infinity) of
            infinity -> ?MAX_LENGTH;
            Size -> Size
        end,
    py_nif:buffer_new(Length, maps:get(copy, Options, auto), MaxSize);
new(Other) ->
    badarg({new, [Other]}, Other, "not a length from 0 to 2^63-1, undefined, or a map of options").

check_option(content_length, undefined, _Options) ->
    ok;
check_option(content_length, Length, _Options) when
    is_integer(Length), Length >= 0, Length =< ?MAX_LENGTH
->
    ok;
check_option(copy, Copy, _Options) when Copy =:= auto; Copy =:= always ->
    ok;
check_option(max_size, infinity, _Options) ->
    ok;
check_option(max_size, Size, _Options) when
    is_integer(Size), Size >= 0, Size =< ?MAX_LENGTH
->
    ok;
check_option(seekable, true, _Options) ->
    ok;
check_option(Name, Value, Options) ->
    Known = lists:member(Name, [content_length, copy, max_size, seekable]),
    Text =
        case Known of
            true -> io_lib:format("option ~tp cannot be ~tp", [Name, Value]);
            false -> io_lib:format("~tp is not an option", [Name])
        end,
    badarg({new, [Options]}, Options, unicode:characters_to_list(Text)).

%% @doc Appends bytes.
%%
%% `{error, closed}': the buffer was closed, here or by Python.  `{error, too_large}': more
%% in all than `max_size' (the buffer stays open).  `{error, enomem}'.  After an error nothing was written.
-spec write(buffer(), iodata()) -> ok | {error, closed | too_large | enomem}.
write(Buffer, Data) when is_binary(Data) ->
    try
        py_nif:buffer_write(Buffer, compact(Data))
    catch
        error:badarg -> bad_buffer({write, [Buffer, Data]})
    end;
write(Buffer, Data) ->
    Binaries =
        try
            [compact(Binary) || Binary <- binaries(Data, [])]
        catch
            error:badarg -> erlpy_error:badarg_at(?MODULE, {write, [Buffer, Data]}, 2, "not iodata")
        end,
    try
        py_nif:buffer_write(Buffer, Binaries)
    catch
        error:badarg -> bad_buffer({write, [Buffer, Data]})
    end.

%% @doc Says that no more bytes will come.  Python's reads return what is left, and then
%% `b""'.  Closing again is `ok'.
-spec close(buffer()) -> ok.
close(Buffer) ->
    try
        py_nif:buffer_close(Buffer)
    catch
        error:badarg -> bad_buffer({close, [Buffer]})
    end.

%% @doc How the buffer stands: `state' (`open', or `ended' after {@link close/1}), whether
%% Python has closed it, the bytes ever `written', the position of the reader (`read'), the
%% bytes that are `available' to it, the memory that the buffer holds (`retained', shared
%% binaries included), and how many memoryviews and waiting reads there are.
-spec info(buffer()) -> info().
info(Buffer) ->
    try
        py_nif:buffer_info(Buffer)
    catch
        error:badarg -> bad_buffer({info, [Buffer]})
    end.

%% A long list in parts: erlang:iolist_to_iovec/1 does not yield on its way.
binaries(Data, Before) ->
    case split(Data, ?PART_ELEMENTS, []) of
        short -> lists:append(lists:reverse(Before, [erlang:iolist_to_iovec(Data)]));
        {Part, Rest} -> binaries(Rest, [erlang:iolist_to_iovec(Part) | Before])
    end.

split([_ | _] = Rest, 0, Part) -> {lists:reverse(Part), Rest};
split([Element | Rest], Left, Part) -> split(Rest, Left - 1, [Element | Part]);
split(_End, _Left, _Part) -> short.

compact(Binary) when byte_size(Binary) < ?MIN_ADOPTED; byte_size(Binary) > ?MAX_COPIED_PART ->
    Binary;
compact(Binary) ->
    case binary:referenced_byte_size(Binary) > 2 * byte_size(Binary) of
        true -> binary:copy(Binary);
        false -> Binary
    end.

%% ---- Errors --------------------------------------------------------------------------

-spec bad_buffer(erlpy_error:call()) -> no_return().
bad_buffer({_, [Buffer | _]} = Who) when is_reference(Buffer), node(Buffer) =/= node() ->
    badarg(Who, Buffer, "buffer of another node");
bad_buffer({_, [Buffer | _]} = Who) ->
    badarg(Who, Buffer, "not a buffer").

-spec badarg(erlpy_error:call(), term(), string()) -> no_return().
badarg(Who, Wrong, Text) ->
    erlpy_error:badarg(?MODULE, Who, Wrong, Text).
