%% @private
%% The map of options of a public function new/1: what is wrong with it, as badarg.
-module(erlpy_options).

-export([check/3, refuse/4, owner/1, own/3]).

-export_type([verdict/0]).

-type verdict() :: boolean() | unknown | owner_elsewhere.

%% `Judge' says of each option whether its value will do.
-spec check(module(), map(), fun((atom(), term()) -> verdict())) -> ok.
check(Module, Options, Judge) ->
    _ = [judged(Judge(Name, Value), Module, Name, Value, Options)
         || {Name, Value} <- maps:to_list(Options)],
    ok.

judged(true, _Module, _Name, _Value, _Options) ->
    ok;
judged(false, Module, Name, Value, Options) ->
    refuse(Module, Options, "option ~tp cannot be ~tp", [Name, Value]);
judged(owner_elsewhere, Module, _Name, Value, Options) ->
    refuse(Module, Options, "the owner ~tp is a process of another node", [Value]);
judged(unknown, Module, Name, _Value, Options) ->
    refuse(Module, Options, "~tp is not an option", [Name]).

%% Raises `badarg' for Module:new(Options).
-spec refuse(module(), map(), string(), [term()]) -> no_return().
refuse(Module, Options, Format, Values) ->
    Text = unicode:characters_to_list(io_lib:format(Format, Values)),
    erlpy_error:badarg_at(Module, {new, [Options]}, 1, Text).

%% The verdict on the option `owner'.
-spec owner(term()) -> boolean() | owner_elsewhere.
owner(none) -> true;
owner(Pid) when is_pid(Pid), node(Pid) =/= node() -> owner_elsewhere;
owner(Value) -> is_pid(Value).

%% What has been made, with the owner that the options name.
-spec own({ok, Made} | {error, enomem}, map(), fun((Made, pid()) -> ok | {error, enomem})) ->
    {ok, Made} | {error, enomem}.
own({ok, Thing} = Made, #{owner := Owner}, SetOwner) when is_pid(Owner) ->
    case SetOwner(Thing, Owner) of
        ok -> Made;
        {error, enomem} = Error -> Error
    end;
own(Made, _Options, _SetOwner) ->
    Made.
